#include "controller/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define HOUR_US (UINT64_C(3600) * 1000000)

static void a_day_has_so_much_and_the_next_one_again(void **state)
{
	struct budget *b AUTO(budget_freep) = budget_new();

	assert_true(budget_take(b, "alice", 60, 100, HOUR_US));
	assert_false(budget_take(b, "alice", 60, 100, 2 * HOUR_US));
	assert_true(budget_take(b, "alice", 40, 100, 2 * HOUR_US));
	assert_true(budget_take(b, "bob", 100, 100, 2 * HOUR_US));
	assert_false(budget_take(b, "bob", UINT64_MAX, 100, 2 * HOUR_US));
	assert_true(budget_take(b, "alice", 100, 100, 25 * HOUR_US));
}

static void any_number_of_users_has_room(void **state)
{
	struct budget *b AUTO(budget_freep) = budget_new();

	for (int i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "u%d", i);
		assert_true(budget_take(b, name, 100, 100, HOUR_US + (uint64_t)i));
		assert_false(budget_take(b, name, 1, 100, HOUR_US + (uint64_t)i));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_day_has_so_much_and_the_next_one_again),
		cmocka_unit_test(any_number_of_users_has_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
