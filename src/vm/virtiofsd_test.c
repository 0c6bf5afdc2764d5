#include "vm/virtiofsd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void the_two_programs_are_told_apart(void **state)
{
	assert_false(virtiofsd_version_is_rust(
		"virtiofsd version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright"));
	assert_true(virtiofsd_version_is_rust("virtiofsd 1.10.0\n"));
	assert_true(virtiofsd_version_is_rust("virtiofsd 1.13.2"));
	assert_false(virtiofsd_version_is_rust(""));
	assert_false(virtiofsd_version_is_rust("something 1.0"));
}

static void program_that_is_not_there_is_named(void **state)
{
	struct virtiofsd program;
	struct error err = {0};

	assert_int_equal(virtiofsd_find("/nonexistent/virtiofsd", &program, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/virtiofsd"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_two_programs_are_told_apart),
		cmocka_unit_test(program_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
