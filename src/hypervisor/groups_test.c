#include "hypervisor/groups.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void map_has_each_group_once(void **state)
{
	static const gid_t groups[] = {100, 27, 100, 65, 27, 4294967294u};
	autofree char *many = groups_format(65, groups, ARRAY_SIZE(groups));
	autofree char *one = groups_format(0, NULL, 0);

	assert_string_equal(many, "65 65 1\n100 100 1\n27 27 1\n4294967294 4294967294 1\n");
	assert_string_equal(one, "0 0 1\n");
}

static void process_that_is_not_there_is_refused(void **state)
{
	const struct peer peer = {.uid = getuid(), .pid = getpid()};
	struct error err = {0};

	assert_true(groups_map(-1, &peer, getpid(), &err) < 0); /* it is nobody's child of ours */
	assert_non_null(strstr(err.text, "no such process"));
	assert_true(groups_map(-1, &peer, -1, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map_has_each_group_once),
		cmocka_unit_test(process_that_is_not_there_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
