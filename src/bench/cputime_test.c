#include "bench/cputime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

#define CHILD_SECONDS 0.2

static void burn(void)
{
	volatile unsigned int x = 0;

	while (cputime_of_tree(getpid()) < CHILD_SECONDS)
		for (int i = 0; i < 1000000; i++)
			x = x + 1;
}

static void a_childs_time_counts(void **state)
{
	double before = cputime_of_tree(getpid());
	pid_t child = fork();

	if (child == 0) {
		burn();
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(cputime_of_tree(getpid()) - before >= CHILD_SECONDS / 2);
}

static void nobody_has_no_time(void **state)
{
	assert_true(cputime_of_tree(0) >= 0);
	assert_true(cputime_of_tree(999999999) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_childs_time_counts),
		cmocka_unit_test(nobody_has_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
