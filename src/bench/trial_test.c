#include "bench/trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void names_are_single(void **state)
{
	for (const struct trial *t = trials; t->name; t++) {
		assert_ptr_equal(trial_find(t->name), t);
		for (int i = 0; i < TRIAL_FIGURES_MAX && t->figures[i].key; i++)
			assert_int_equal(trial_find_figure(t, t->figures[i].key), i);
	}
	assert_null(trial_find("nothing"));
	assert_int_equal(trial_find_figure(trial_find("disk"), "nothing"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_single),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
