#include "porter/stock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "depot/scan.h"
#include "lib/log.h"
#include "lib/thread.h"

#define NICE_MOST 19

enum item_state { ITEM_NEW, ITEM_SCANNED, ITEM_TAKEN, ITEM_USELESS };

struct item {
	struct item *next;
	char blob[DIGEST_HEX_SIZE];
	int fd;
	bool wanted;
	enum item_state state; /* with the lock, as `index` */
	struct caibx *index;
	struct holding *holding; /* ITEM_TAKEN */
};

struct stock {
	struct porter *porter;
	struct item *first; /* the main thread's; changed with the lock, as the other one looks */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	atomic_bool ending;
	const struct item *busy; /* that the thread is at */
};

static int on_chunk(
	const struct caibx_chunk *chunk, const void *data, void *userdata, struct error *err)
{
	const struct stock *s = userdata;

	return s->ending ? -ECANCELED : 0;
}

/* Only what was cut by the same rule is found again, as all that WNoDeS publishes is. */
static struct caibx *scan(struct stock *s, const struct item *item)
{
	const struct scan how = {.threads = 1, .on_chunk = on_chunk, .userdata = s};
	struct caibx *index = NULL;
	struct error err = {0};
	struct stat st;

	if (fstat(item->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
		return NULL;
	if (scan_file(item->fd, (uint64_t)st.st_size, &how, &index, &err) == 0)
		return index;
	if (!s->ending)
		log_warning("'%s' is not reused: %s, ignoring", item->blob, err.text);
	return NULL;
}

static struct item *find_new(const struct stock *s)
{
	struct item *item = s->first;

	while (item && item->state != ITEM_NEW)
		item = item->next;
	return item;
}

static void *run(void *userdata)
{
	struct stock *s = userdata;

	/* Of this thread alone, as Linux has it. */
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE_MOST);
	pthread_mutex_lock(&s->lock);
	while (!s->ending) {
		struct item *item = find_new(s);
		struct caibx *index;

		if (!item) {
			pthread_cond_wait(&s->changed, &s->lock);
			continue;
		}
		s->busy = item;
		pthread_mutex_unlock(&s->lock);
		index = scan(s, item);
		pthread_mutex_lock(&s->lock);
		item->index = index;
		item->state = index ? ITEM_SCANNED : ITEM_USELESS;
		s->busy = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int stock_new(struct porter *p, struct stock **ret, struct error *err)
{
	struct stock *s AUTO(stock_freep) = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return fail(err, -ENOMEM, "out of memory");
	s->porter = p;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	r = thread_start(&s->thread, run, s);
	if (r < 0)
		return fail_errno(err, r, "cannot start a thread");
	s->started = true;
	*ret = TAKE_PTR(s);
	return 0;
}

static void item_free(struct stock *s, struct item *item)
{
	if (item->holding) {
		holdings_remove(s->porter->holdings, item->holding);
		holding_unref(item->holding);
	}
	caibx_free(item->index);
	base_close(item->fd);
	free(item);
}

/* One that the thread is at goes the next time. */
static void sweep(struct stock *s)
{
	struct item **link = &s->first, *gone = NULL;

	pthread_mutex_lock(&s->lock);
	while (*link) {
		struct item *item = *link;

		if (item->wanted || item == s->busy) {
			link = &item->next;
			continue;
		}
		*link = item->next;
		item->next = gone;
		gone = item;
	}
	pthread_mutex_unlock(&s->lock);
	while (gone) {
		struct item *item = gone;

		gone = item->next;
		item_free(s, item);
	}
}

struct stock *stock_free(struct stock *s)
{
	if (!s)
		return NULL;
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	if (s->started)
		pthread_join(s->thread, NULL);
	for (struct item *item = s->first; item; item = item->next)
		item->wanted = false;
	sweep(s);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

static struct item *find(const struct stock *s, const char *blob)
{
	struct item *item = s->first;

	while (item && !streq(item->blob, blob))
		item = item->next;
	return item;
}

static int add(struct stock *s, const char *blob, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	struct error why = {0};
	struct item *item;
	int r = daemon_ask(&s->porter->daemon, json_pack("{s:s, s:s}", "op", "own", "blob", blob),
		&answer, &why);
	int fd = r < 0 ? -1 : daemon_answer_take(&answer, "blob");

	if (r < 0 && r != -EREMOTEIO)
		return fail(err, r, "%s", why.text);
	item = fd < 0 ? NULL : calloc(1, sizeof(*item));
	if (!item) { /* it has gone meanwhile */
		base_close(fd);
		return 0;
	}
	*item = (struct item){.fd = fd, .wanted = true};
	snprintf(item->blob, sizeof(item->blob), "%s", blob);
	pthread_mutex_lock(&s->lock);
	item->next = s->first;
	s->first = item;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

int stock_set(struct stock *s, const json_t *own, struct error *err)
{
	const json_t *text;
	size_t i;
	int r = 0;

	for (struct item *item = s->first; item; item = item->next)
		item->wanted = false;
	json_array_foreach(own, i, text)
	{
		const char *blob = json_string_value(text);
		struct item *item = blob ? find(s, blob) : NULL;

		if (item)
			item->wanted = true;
		else if (r == 0 && blob && digest_is_hex(blob))
			r = add(s, blob, err);
	}
	sweep(s);
	return r;
}

static void take(struct stock *s, struct item *item)
{
	struct holding_parts parts = {.index = TAKE_PTR(item->index),
		.fd = TAKE_FD(item->fd),
		.index_fd = -1,
		.manifest_fd = -1,
		.own = true};
	struct error err = {0};

	snprintf(parts.blob, sizeof(parts.blob), "%s", item->blob);
	if (holdings_add(s->porter->holdings, &parts, true, &item->holding, &err) < 0)
		log_warning("'%s' is not reused: %s, ignoring", item->blob, err.text);
}

void stock_work(struct stock *s)
{
	for (struct item *item = s->first; item; item = item->next) {
		bool scanned;

		pthread_mutex_lock(&s->lock);
		scanned = item->state == ITEM_SCANNED;
		if (scanned)
			item->state = ITEM_TAKEN;
		pthread_mutex_unlock(&s->lock);
		if (scanned)
			take(s, item);
	}
}
