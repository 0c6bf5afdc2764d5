#include "hypervisor/allowance.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND 1000000

static struct allowances of = {.connections_max = 2, .requests = 10};

static int teardown(void **state)
{
	allowances_done(&of);
	return 0;
}

static void connections_of_a_user_are_counted(void **state)
{
	struct allowance *a = allowances_connect(&of, 5);

	assert_non_null(a);
	assert_ptr_equal(allowances_connect(&of, 5), a);
	assert_null(allowances_connect(&of, 5));
	assert_non_null(allowances_connect(&of, 6)); /* others are not to suffer */
	allowances_disconnect(&of, a);
	assert_ptr_equal(allowances_connect(&of, 5), a);
}

static void requests_are_heard_at_their_rate(void **state)
{
	struct allowance *a = allowances_connect(&of, 5);
	uint64_t now = SECOND;
	int heard = 0;

	for (int i = 0; i < 100; i++)
		heard += allowance_take_request(&of, a, now);
	assert_int_equal(heard, 10);
	now += SECOND / 2;
	for (int i = 0; i < 100; i++)
		heard += allowance_take_request(&of, a, now);
	assert_int_equal(heard, 15);
	now += 100 * (uint64_t)SECOND; /* nothing is saved up beyond a second's */
	for (int i = 0; i < 100; i++)
		heard += allowance_take_request(&of, a, now);
	assert_int_equal(heard, 25);
}

/* Who connects anew for each request gains nothing by it. */
static void allowance_outlives_the_connection(void **state)
{
	int heard = 0;

	for (int i = 0; i < 100; i++) {
		struct allowance *a = allowances_connect(&of, 5);

		heard += allowance_take_request(&of, a, SECOND);
		allowances_disconnect(&of, a);
		allowances_disconnect(&of, allowances_connect(&of, 6));
	}
	assert_int_equal(heard, 10);
}

static void root_is_always_heard(void **state)
{
	struct allowance *a = allowances_connect(&of, 0);

	for (int i = 0; i < 100; i++)
		assert_true(allowance_take_request(&of, a, SECOND));
	assert_non_null(allowances_connect(&of, 0));
	assert_non_null(allowances_connect(&of, 0));
}

static void templates_are_thrown_away_twice_and_then_rarely(void **state)
{
	struct allowance *a = allowances_connect(&of, 5);

	assert_true(allowance_take_discard(a, SECOND));
	assert_true(allowance_take_discard(a, SECOND));
	assert_false(allowance_take_discard(a, SECOND));
	assert_false(allowance_take_discard(a, 100 * (uint64_t)SECOND));
	assert_true(allowance_take_discard(a, 302 * (uint64_t)SECOND));
	assert_false(allowance_take_discard(a, 303 * (uint64_t)SECOND));
}

#define EACH(test) cmocka_unit_test_teardown(test, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(connections_of_a_user_are_counted),
		EACH(requests_are_heard_at_their_rate),
		EACH(allowance_outlives_the_connection),
		EACH(root_is_always_heard),
		EACH(templates_are_thrown_away_twice_and_then_rarely),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
