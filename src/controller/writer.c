#include "controller/writer.h"

#include <errno.h>
#include <pthread.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/thread.h"

/* Requests that wait. A node's heartbeats are one each half minute, so that this is more than a
 * site of 10,000 nodes sends in ten seconds. */
#define WRITER_QUEUE_MAX 4096

/* In one transaction: more do not make it faster, and it would hold up other controllers. */
#define BATCH_MAX 256

/* After so long a transaction takes no more of them, as some are long: a node that tells all that
 * it has keeps others waiting for as long as ten leases do. */
#define BATCH_US 50000

/* For how long a database that does not answer is tried before requests are refused, so that
 * clients ask another controller; and how often. */
#define PATIENCE_US 5000000
#define PAUSE_US    100000

struct writer {
	char *url;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of the queue, `ending` and the usage */
	pthread_cond_t wake;
	struct writer_job *first, **last;
	bool ending;
	struct writer_usage usage;
	/* The thread's own: */
	struct sql *db;
	bool down; /* the database was given up, and has not answered since */
};

struct batch {
	struct writer_job *jobs[BATCH_MAX];
	int results[BATCH_MAX];
	size_t count;
};

/* As many requests as one transaction may have. */
static void take(struct writer *w, struct batch *b)
{
	b->count = 0;
	while (w->first && b->count < BATCH_MAX) {
		b->jobs[b->count++] = w->first;
		w->first = w->first->next;
		w->usage.queued--;
	}
	if (!w->first)
		w->last = &w->first;
}

/* Those from `from` on are not done yet: they are next. */
static void give_back(struct writer *w, struct batch *b, size_t from)
{
	pthread_mutex_lock(&w->lock);
	for (size_t i = b->count; i > from; i--) {
		b->jobs[i - 1]->next = w->first;
		if (!w->first)
			w->last = &b->jobs[i - 1]->next;
		w->first = b->jobs[i - 1];
		w->usage.queued++;
	}
	pthread_mutex_unlock(&w->lock);
	b->count = from;
}

/* Returns false when it is time to end. */
static bool await(struct writer *w, struct batch *b)
{
	pthread_mutex_lock(&w->lock);
	while (!w->first && !w->ending)
		pthread_cond_wait(&w->wake, &w->lock);
	take(w, b);
	pthread_mutex_unlock(&w->lock);
	return b->count > 0;
}

/* Is it worth trying again? */
static bool is_passing(int code)
{
	return code == -ENOTCONN || code == -EAGAIN || code == -EBUSY;
}

static int connect_database(struct writer *w, struct error *err)
{
	if (w->db && sql_is_broken(w->db))
		w->db = sql_free(w->db);
	return w->db ? 0 : sql_open(w->url, &w->db, err);
}

/* Returns 0 with *result work()'s, or the negative errno that the transaction has failed with. */
static int run_job(struct sql *db, struct writer_job *job, int *result, struct error *err)
{
	int r = sql_savepoint(db, err);

	if (r < 0)
		return r;
	*result = job->work(job, db);
	r = sql_failure(db, err);
	if (is_passing(r))
		return r;
	return *result < 0 ? sql_undo(db, err) : sql_release(db, err);
}

/* All in one transaction, but for those that come too late for it. */
static int run_once(struct writer *w, struct batch *b, struct error *err)
{
	int r = connect_database(w, err);
	uint64_t end;

	if (r == 0)
		r = sql_begin(w->db, err);
	if (r < 0)
		return r;
	end = clock_now_us() + BATCH_US;
	for (size_t i = 0; i < b->count && r == 0; i++) {
		r = run_job(w->db, b->jobs[i], &b->results[i], err);
		if (clock_now_us() > end)
			give_back(w, b, i + 1);
	}
	if (r == 0)
		return sql_commit(w->db, err);
	sql_rollback(w->db);
	return r;
}

static void count(struct writer *w, uint64_t jobs, uint64_t transactions, uint64_t retries)
{
	pthread_mutex_lock(&w->lock);
	w->usage.jobs += jobs;
	w->usage.transactions += transactions;
	w->usage.retries += retries;
	pthread_mutex_unlock(&w->lock);
}

static void tell_state(struct writer *w, bool down, const struct error *err)
{
	if (down && !w->down)
		log_warning("%s, trying again with each request", err->text);
	else if (!down && w->down)
		log_notice("the database answers again");
	w->down = down;
}

/* Tries for a while. What a connection that is lost at its end has kept is not known, so all is
 * done again: every request may be repeated. While the database is down, each is tried once. */
static int run_batch(struct writer *w, struct batch *b, struct error *err)
{
	uint64_t end = clock_now_us() + PATIENCE_US;
	int r;

	while (is_passing(r = run_once(w, b, err)) && !w->down && clock_now_us() < end) {
		count(w, 0, 0, 1);
		usleep(PAUSE_US);
	}
	tell_state(w, is_passing(r), err);
	count(w, r == 0 ? b->count : 0, r == 0, 0);
	return is_passing(r) ? -ENOTCONN : r;
}

static void finish(struct batch *b, int code, const struct error *err)
{
	for (size_t i = 0; i < b->count; i++)
		b->jobs[i]->done(b->jobs[i], code < 0 ? code : b->results[i], err);
}

/* Where one has broken the transaction for all, the others are done without it. */
static void run_each(struct writer *w, struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct batch one = {.jobs = {b->jobs[i]}, .count = 1};
		struct error err = {0};
		int r = run_batch(w, &one, &err);

		finish(&one, r, &err);
	}
}

/* Those that have come meanwhile are not to wait as long, one after the other. */
static void refuse_queued(struct writer *w, const struct error *err)
{
	struct batch b;

	do {
		pthread_mutex_lock(&w->lock);
		take(w, &b);
		pthread_mutex_unlock(&w->lock);
		finish(&b, -ENOTCONN, err);
	} while (b.count > 0);
}

static void *run(void *userdata)
{
	struct writer *w = userdata;
	struct batch b;

	while (await(w, &b)) {
		struct error err = {0};
		int r = run_batch(w, &b, &err);

		if (r < 0 && r != -ENOTCONN && b.count > 1)
			run_each(w, &b);
		else
			finish(&b, r, &err);
		if (w->down)
			refuse_queued(w, &err);
	}
	return NULL;
}

int writer_add(struct writer *w, struct writer_job *job)
{
	int r = 0;

	job->next = NULL;
	pthread_mutex_lock(&w->lock);
	if (w->usage.queued >= WRITER_QUEUE_MAX) {
		r = -EBUSY;
	} else {
		*w->last = job;
		w->last = &job->next;
		w->usage.queued++;
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

void writer_get_usage(struct writer *w, struct writer_usage *ret)
{
	pthread_mutex_lock(&w->lock);
	*ret = w->usage;
	pthread_mutex_unlock(&w->lock);
}

static int start(struct writer *w)
{
	int r = thread_start(&w->thread, run, w);

	w->started = r == 0;
	return r;
}

int writer_new(const char *url, struct writer **ret, struct error *err)
{
	struct writer *w AUTO(writer_freep) = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	w->last = &w->first;
	w->url = strdup(url);
	if (!w->url)
		return fail(err, -ENOMEM, "out of memory");
	r = connect_database(w, err);
	if (r < 0 && r != -ENOTCONN)
		return r;
	r = start(w);
	if (r < 0)
		return fail_errno(err, r, "cannot start a thread");
	*ret = TAKE_PTR(w);
	return 0;
}

void writer_end(struct writer *w)
{
	if (!w || !w->started)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	w->started = false;
}

struct writer *writer_free(struct writer *w)
{
	if (!w)
		return NULL;
	writer_end(w);
	sql_free(w->db);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w->url);
	free(w);
	return NULL;
}
