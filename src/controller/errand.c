#include "controller/errand.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/thread.h"

struct errand {
	void (*work)(void *task);
	void (*drop)(void *task);
	void *task;
	bool done, left; /* left: nobody waits for it any more */
	struct errand *next;
};

struct errands {
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	uint64_t patience_us;
	bool started, ending, ended;
	int references; /* the owner, and the thread, which may not come back for long */
	struct errand *first, **last;
	uint64_t since_us; /* when the one under way was begun; 0: none is */
};

struct errands *errands_new(uint64_t patience_us)
{
	struct errands *e = calloc(1, sizeof(*e));
	pthread_condattr_t attributes;

	if (!e)
		return NULL;
	e->patience_us = patience_us;
	e->references = 1;
	e->last = &e->first;
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&e->wake, &attributes);
	pthread_cond_init(&e->done, &attributes);
	pthread_condattr_destroy(&attributes);
	return e;
}

/* With the lock, which is released. */
static void unref(struct errands *e)
{
	bool last = --e->references == 0;

	pthread_mutex_unlock(&e->lock);
	if (!last)
		return;
	pthread_cond_destroy(&e->wake);
	pthread_cond_destroy(&e->done);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

/* With the lock. */
static struct errand *take_first(struct errands *e)
{
	struct errand *errand = e->first;

	e->first = errand->next;
	if (!e->first)
		e->last = &e->first;
	return errand;
}

/* With the lock. */
static void do_first(struct errands *e)
{
	struct errand *errand = take_first(e);

	if (!errand->left) {
		e->since_us = clock_now_us();
		pthread_mutex_unlock(&e->lock);
		errand->work(errand->task);
		pthread_mutex_lock(&e->lock);
		e->since_us = 0;
	}
	errand->done = true;
	pthread_cond_broadcast(&e->done);
	if (errand->left) {
		errand->drop(errand->task);
		free(errand);
	}
}

static void *run(void *userdata)
{
	struct errands *e = userdata;

	pthread_mutex_lock(&e->lock);
	while (!e->ending || e->first) {
		if (e->first)
			do_first(e);
		else
			pthread_cond_wait(&e->wake, &e->lock);
	}
	e->ended = true;
	pthread_cond_broadcast(&e->done);
	unref(e);
	return NULL;
}

/* With the lock. */
static int start(struct errands *e)
{
	pthread_t thread;
	int r = e->started ? 0 : thread_start(&thread, run, e);

	if (r < 0 || e->started)
		return r;
	pthread_detach(thread);
	e->started = true;
	e->references++;
	return 0;
}

static struct timespec time_after(uint64_t us)
{
	struct timespec t;
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &t);
	ns = (uint64_t)t.tv_nsec + us * 1000;
	return (struct timespec){t.tv_sec + (time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}

/* With the lock: until it is done or the patience is over. */
static int await(struct errands *e, struct errand *errand)
{
	struct timespec end = time_after(e->patience_us);

	while (!errand->done)
		if (pthread_cond_timedwait(&e->done, &e->lock, &end) == ETIMEDOUT)
			break;
	if (errand->done) {
		free(errand);
		return 0;
	}
	errand->left = true;
	return -ETIMEDOUT;
}

static int add(struct errands *e, struct errand *errand)
{
	int r = start(e);

	if (r == 0 && e->since_us > 0 && clock_now_us() - e->since_us > e->patience_us)
		r = -ETIMEDOUT;
	if (r < 0) {
		errand->drop(errand->task);
		free(errand);
		return r;
	}
	*e->last = errand;
	e->last = &errand->next;
	pthread_cond_signal(&e->wake);
	return await(e, errand);
}

int errands_run(struct errands *e, void (*work)(void *task), void (*drop)(void *task), void *task)
{
	struct errand *errand = calloc(1, sizeof(*errand));
	int r;

	if (!errand) {
		drop(task);
		return -ENOMEM;
	}
	*errand = (struct errand){.work = work, .drop = drop, .task = task};
	pthread_mutex_lock(&e->lock);
	r = add(e, errand);
	pthread_mutex_unlock(&e->lock);
	return r;
}

struct errands *errands_free(struct errands *e)
{
	struct timespec end;

	if (!e)
		return NULL;
	end = time_after(e->patience_us);
	pthread_mutex_lock(&e->lock);
	e->ending = true;
	pthread_cond_signal(&e->wake);
	while (e->started && !e->ended)
		if (pthread_cond_timedwait(&e->done, &e->lock, &end) == ETIMEDOUT)
			break;
	unref(e);
	return NULL;
}
