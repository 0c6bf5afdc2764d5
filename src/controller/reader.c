#include "controller/reader.h"

#include <errno.h>
#include <pthread.h>

#include "lib/clock.h"
#include "lib/log.h"

/* After a failure; longer where that took its time, so that a thread is there for others as well.
 */
#define PAUSE_US UINT64_C(1000000)

struct reader {
	struct sql *db;
	uint64_t again_us; /* when a lost one is tried again */
	struct error failure;
};

static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void reader_free(void *userdata)
{
	struct reader *r = userdata;

	sql_free(r->db);
	free(r);
}

static void make_key(void)
{
	pthread_key_create(&key, reader_free);
}

static struct reader *reader_find(void)
{
	struct reader *r;

	pthread_once(&key_once, make_key);
	r = pthread_getspecific(key);
	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (r && pthread_setspecific(key, r) != 0) {
		free(r);
		return NULL;
	}
	return r;
}

static int reader_open(struct reader *r, const char *url)
{
	uint64_t start = clock_now_us();
	int code;

	r->failure = (struct error){0};
	code = sql_open(url, &r->db, &r->failure);
	if (code < 0) {
		uint64_t end = clock_now_us();

		r->db = NULL;
		r->again_us = end + MAX_OF(PAUSE_US, 2 * (end - start));
	}
	return code;
}

int reader_get(const char *url, struct sql **ret, struct error *err)
{
	struct reader *r = reader_find();

	*ret = NULL;
	if (!r)
		return fail(err, -ENOMEM, "out of memory");
	if (r->db && sql_is_left(r->db)) {
		r->db = sql_free(r->db);
		r->failure = (struct error){.text = "the connection was lost"};
		r->again_us = 0;
	}
	if (!r->db && (clock_now_us() < r->again_us || reader_open(r, url) < 0))
		return fail(err, -ENOTCONN, "%s", r->failure.text);
	*ret = r->db;
	return 0;
}

void reader_begin(struct sql *db)
{
	struct error err = {0};

	/* Statements do as well without. */
	if (db && sql_kind(db) == SQL_SQLITE && sql_change(db, &err, "BEGIN") < 0)
		log_debug("cannot begin to read: %s", err.text);
}

void reader_end(struct sql *db)
{
	struct error err = {0};

	if (!db || sql_kind(db) != SQL_SQLITE || sql_change(db, &err, "COMMIT") >= 0)
		return;
	/* One that is left open would go on to see what is old. */
	log_debug("cannot end to read: %s", err.text);
	sql_change(db, &err, "ROLLBACK");
}
