#include "controller/errand.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include "lib/clock.h"

#include <cmocka.h>

#define PATIENCE_US UINT64_C(100000)
#define LONG_US     UINT64_C(1500000)

static _Atomic(int) dropped, worked;

static void work(void *task)
{
	usleep(*(useconds_t *)task);
	worked++;
}

static void drop(void *task)
{
	free(task);
	dropped++;
}

/* Returns what the errand does, and in *ret_us how long that took. */
static int run_one(struct errands *e, uint64_t time_us, uint64_t *ret_us)
{
	uint64_t start = clock_now_us();
	useconds_t *task = malloc(sizeof(*task));
	int r;

	*task = (useconds_t)time_us;
	r = errands_run(e, work, drop, task);
	if (r == 0)
		free(task);
	*ret_us = clock_now_us() - start;
	return r;
}

static void nobody_waits_for_longer_than_the_patience(void **state)
{
	struct errands *e AUTO(errands_freep) = errands_new(PATIENCE_US);
	uint64_t us;

	worked = dropped = 0;
	assert_int_equal(run_one(e, 0, &us), 0);
	assert_int_equal(run_one(e, LONG_US, &us), -ETIMEDOUT);
	assert_true(us >= PATIENCE_US && us < LONG_US);
	/* Who comes meanwhile does not wait at all. */
	usleep(PATIENCE_US / 2);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(run_one(e, 0, &us), -ETIMEDOUT);
		assert_true(us < LONG_US / 2);
	}
	for (int i = 0; i < 100 && worked < 2; i++)
		usleep(LONG_US / 10);
	assert_int_equal(run_one(e, 0, &us), 0);
	assert_int_equal(worked, 3);
	assert_int_equal(dropped, 4);
}

static void the_end_does_not_wait_for_it_either(void **state)
{
	struct errands *e = errands_new(PATIENCE_US);
	uint64_t start, us;

	worked = dropped = 0;
	assert_int_equal(run_one(e, LONG_US, &us), -ETIMEDOUT);
	start = clock_now_us();
	errands_free(e);
	assert_true(clock_now_us() - start < LONG_US / 2);
	for (int i = 0; i < 100 && dropped < 1; i++)
		usleep(LONG_US / 10);
	assert_int_equal(dropped, 1);
	/* And one that has done nothing ends at once. */
	errands_free(errands_new(PATIENCE_US));
	errands_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_waits_for_longer_than_the_patience),
		cmocka_unit_test(the_end_does_not_wait_for_it_either),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
