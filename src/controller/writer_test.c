#include "controller/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "controller/schema.h"
#include "lib/file.h"

#include <cmocka.h>

static char top[] = "/tmp/writer-test.XXXXXX";
static char url[64];
static struct error err;

static int setup(void **state)
{
	struct sql *db AUTO(sql_freep) = NULL;

	strcpy(top + sizeof(top) - 7, "XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(url, sizeof(url), "sqlite:%s/site.db", top);
	return sql_open(url, &db, &err) < 0 || schema_upgrade(db, &err) < 0;
}

static int teardown(void **state)
{
	return file_remove_tree(AT_FDCWD, top);
}

struct put {
	struct writer_job job;
	pthread_mutex_t *lock;
	pthread_cond_t *wake;
	char name[32];
	int answer, result;
	bool done;
};

static int put_work(struct writer_job *job, struct sql *db)
{
	struct put *p = (struct put *)(void *)job;
	int r = sql_change(db, NULL,
		"INSERT INTO site (name, value) VALUES (?1, 'x') ON CONFLICT DO NOTHING",
		sql_text(p->name));

	return r < 0 ? r : p->answer;
}

static void put_done(struct writer_job *job, int result, const struct error *e)
{
	struct put *p = (struct put *)(void *)job;

	pthread_mutex_lock(p->lock);
	p->result = result;
	p->done = true;
	pthread_cond_signal(p->wake);
	pthread_mutex_unlock(p->lock);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;

static void await(struct put *p)
{
	pthread_mutex_lock(&lock);
	while (!p->done)
		pthread_cond_wait(&wake, &lock);
	pthread_mutex_unlock(&lock);
}

static int64_t count_rows(const char *pattern)
{
	struct sql *db AUTO(sql_freep) = NULL;
	int64_t n = -1;

	assert_int_equal(sql_open(url, &db, &err), 0);
	assert_int_equal(sql_get_number(db, &err, &n,
				 "SELECT count(*) FROM site WHERE name LIKE ?1", sql_text(pattern)),
		1);
	return n;
}

static void what_is_done_is_kept_and_what_is_refused_is_not(void **state)
{
	struct writer *w AUTO(writer_freep) = NULL;
	struct put puts[100];

	assert_int_equal(writer_new(url, &w, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(puts); i++) {
		puts[i] = (struct put){.job = {.work = put_work, .done = put_done},
			.lock = &lock,
			.wake = &wake,
			.answer = i % 3 == 0 ? -EPERM : 0};
		snprintf(puts[i].name, sizeof(puts[i].name), "put-%zu", i);
		assert_int_equal(writer_add(w, &puts[i].job), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(puts); i++) {
		await(&puts[i]);
		assert_int_equal(puts[i].result, puts[i].answer);
		assert_int_equal(count_rows(puts[i].name), i % 3 == 0 ? 0 : 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			what_is_done_is_kept_and_what_is_refused_is_not, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
