#include "controller/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

/* Each has a body of some MiB on the disk, and takes up to a second. */
#define QUEUE_MAX 64

struct worker {
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	struct worker_job *first, **last;
	size_t queued;
	bool ending;
};

/* NULL when it is time to end. */
static struct worker_job *take(struct worker *w)
{
	struct worker_job *job;

	pthread_mutex_lock(&w->lock);
	while (!w->first && !w->ending)
		pthread_cond_wait(&w->wake, &w->lock);
	job = w->first;
	if (job) {
		w->first = job->next;
		w->queued--;
		if (!w->first)
			w->last = &w->first;
	}
	pthread_mutex_unlock(&w->lock);
	return job;
}

static void *run(void *userdata)
{
	struct worker *w = userdata;
	struct worker_job *job;

	while ((job = take(w)))
		job->work(job);
	return NULL;
}

int worker_add(struct worker *w, struct worker_job *job)
{
	int r = 0;

	job->next = NULL;
	pthread_mutex_lock(&w->lock);
	if (w->queued >= QUEUE_MAX || w->ending) {
		r = -EBUSY;
	} else {
		*w->last = job;
		w->last = &job->next;
		w->queued++;
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

/* Signals are the main thread's. */
static int start(struct worker *w)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	w->started = r == 0;
	return r;
}

int worker_new(struct worker **ret, struct error *err)
{
	struct worker *w AUTO(worker_freep) = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	w->last = &w->first;
	r = start(w);
	if (r < 0)
		return fail_errno(err, r, "cannot start a thread");
	*ret = TAKE_PTR(w);
	return 0;
}

void worker_end(struct worker *w)
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

struct worker *worker_free(struct worker *w)
{
	if (!w)
		return NULL;
	worker_end(w);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return NULL;
}
