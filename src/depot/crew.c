#include "depot/crew.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#define THREADS_MAX 4 /* more do not write one file any faster */

struct queue {
	struct crew_job *first, **end;
};

struct crew {
	void (*wake)(void *userdata);
	void *userdata;
	pthread_t threads[THREADS_MAX];
	size_t thread_count, pending;

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t changed;
	struct queue todo, done;
	bool ending;
};

static void queue_init(struct queue *q)
{
	q->first = NULL;
	q->end = &q->first;
}

static void queue_put(struct queue *q, struct crew_job *job)
{
	job->next = NULL;
	*q->end = job;
	q->end = &job->next;
}

static struct crew_job *queue_get(struct queue *q)
{
	struct crew_job *job = q->first;

	if (job) {
		q->first = job->next;
		if (!q->first)
			q->end = &q->first;
	}
	return job;
}

static void *crew_run(void *userdata)
{
	struct crew *c = userdata;

	pthread_mutex_lock(&c->lock);
	while (!c->ending) {
		struct crew_job *job = queue_get(&c->todo);

		if (!job) {
			pthread_cond_wait(&c->changed, &c->lock);
			continue;
		}
		pthread_mutex_unlock(&c->lock);
		job->run(job);
		pthread_mutex_lock(&c->lock);
		queue_put(&c->done, job);
		c->wake(c->userdata);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

size_t crew_default_threads(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return MIN_OF((size_t)MAX_OF(count, 1), (size_t)THREADS_MAX);
}

int crew_new(size_t threads, void (*wake)(void *userdata), void *userdata, struct crew **ret)
{
	struct crew *c AUTO(crew_freep) = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->wake = wake;
	c->userdata = userdata;
	queue_init(&c->todo);
	queue_init(&c->done);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	for (size_t i = 0; i < MIN_OF(threads, (size_t)THREADS_MAX); i++) {
		int r = pthread_create(&c->threads[i], NULL, crew_run, c);

		if (r != 0)
			return -r;
		c->thread_count++;
	}
	*ret = TAKE_PTR(c);
	return 0;
}

struct crew *crew_free(struct crew *c)
{
	if (!c)
		return NULL;
	pthread_mutex_lock(&c->lock);
	c->ending = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < c->thread_count; i++)
		pthread_join(c->threads[i], NULL);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->changed);
	free(c);
	return NULL;
}

void crew_give(struct crew *c, struct crew_job *job)
{
	pthread_mutex_lock(&c->lock);
	queue_put(&c->todo, job);
	c->pending++;
	pthread_cond_signal(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

struct crew_job *crew_take(struct crew *c)
{
	struct crew_job *job;

	pthread_mutex_lock(&c->lock);
	job = queue_get(&c->done);
	c->pending -= job != NULL;
	pthread_mutex_unlock(&c->lock);
	return job;
}

size_t crew_pending(const struct crew *c)
{
	return c->pending;
}
