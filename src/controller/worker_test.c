#include "controller/worker.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define THREADS 6
#define JOBS    2000

struct sum {
	struct worker *worker;
	struct task {
		struct worker_job job; /* first: a job is its task */
		size_t *total;
		_Atomic(bool) done;
	} tasks[JOBS];
	size_t total; /* the worker's */
	size_t taken;
};

static void work(struct worker_job *job)
{
	struct task *t = (struct task *)(void *)job;

	++*t->total;
	t->done = true;
}

static void *fill(void *userdata)
{
	struct sum *s = userdata;

	for (size_t i = 0; i < JOBS; i++) {
		int r;

		s->tasks[i] = (struct task){.job = {.work = work}, .total = &s->total};
		r = worker_add(s->worker, &s->tasks[i].job);
		assert_true(r == 0 || r == -EBUSY);
		s->taken += r == 0;
		while (r == 0 && i % 8 == 0 && !s->tasks[i].done)
			sched_yield();
	}
	return NULL;
}

static void each_job_that_was_taken_is_done_once(void **state)
{
	struct worker *w AUTO(worker_freep) = NULL;
	struct sum *sums = calloc(THREADS, sizeof(*sums));
	pthread_t threads[THREADS];
	struct error err = {0};

	assert_non_null(sums);
	assert_int_equal(worker_new(&w, &err), 0);
	for (int i = 0; i < THREADS; i++) {
		sums[i].worker = w;
		assert_int_equal(pthread_create(&threads[i], NULL, fill, &sums[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	worker_end(w);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(sums[i].total, sums[i].taken);
	/* Whoever comes afterwards is told so. */
	assert_int_equal(worker_add(w, &sums[0].tasks[0].job), -EBUSY);
	free(sums);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_job_that_was_taken_is_done_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
