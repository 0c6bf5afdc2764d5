#include "guest/cmdline.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char line[] = "quiet root=/dev/vda rootfstype=ext4  ro\tx=a=b root=/dev/vdb empty=\n";

static void test_last_value_of_a_key_counts(void **state)
{
	char value[16];

	assert_true(cmdline_find(line, "root", value, sizeof(value)));
	assert_string_equal(value, "/dev/vdb");
	assert_true(cmdline_find(line, "x", value, sizeof(value)));
	assert_string_equal(value, "a=b");
	assert_true(cmdline_find(line, "empty", value, sizeof(value)));
	assert_string_equal(value, "");
}

static void test_part_of_a_word_is_not_the_word(void **state)
{
	char value[16];

	assert_false(cmdline_find(line, "rootfs", value, sizeof(value)));
	assert_false(cmdline_find(line, "oot", value, sizeof(value)));
	assert_false(cmdline_contains(line, "r"));
	assert_false(cmdline_contains(line, "root"));
	assert_true(cmdline_contains(line, "ro"));
	assert_true(cmdline_contains(line, "quiet"));
}

static void test_value_that_does_not_fit_is_none(void **state)
{
	char value[8];

	assert_false(cmdline_find(line, "root", value, sizeof(value)));
	assert_true(cmdline_find(line, "rootfstype", value, sizeof(value)));
	assert_string_equal(value, "ext4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_value_of_a_key_counts),
		cmocka_unit_test(test_part_of_a_word_is_not_the_word),
		cmocka_unit_test(test_value_that_does_not_fit_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
