#include "imagelist/version.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_before(const char *a, const char *b)
{
	if (version_compare(a, b) >= 0 || version_compare(b, a) <= 0)
		fail_msg("'%s' is not before '%s'", a, b);
}

static void numbers_count_as_numbers(void **state)
{
	assert_before("9", "10");
	assert_before("20150618211400", "20150619000000");
	assert_before("1.2", "1.10");
	assert_before("1.2", "1.2.1");
	assert_before("1.2-3", "1.2-20");
	assert_before("1.2a", "1.2b");
	assert_before("99999999999999999999999998", "99999999999999999999999999");
	assert_before("", "0");
}

static void leading_zeros_are_nothing(void **state)
{
	assert_int_equal(version_compare("007", "7"), 0);
	assert_int_equal(version_compare("1.02", "1.2"), 0);
	assert_int_equal(version_compare("", ""), 0);
	assert_int_equal(version_compare("v1", "v1"), 0);
	assert_before("000", "1");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_count_as_numbers),
		cmocka_unit_test(leading_zeros_are_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
