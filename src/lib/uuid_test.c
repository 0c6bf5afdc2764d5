#include "lib/uuid.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void fresh_ones_are_of_version_4_and_differ(void **state)
{
	char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE];

	for (int i = 0; i < 100; i++) {
		assert_int_equal(uuid_new(a), 0);
		assert_int_equal(uuid_new(b), 0);
		assert_true(uuid_is_text(a));
		assert_int_equal(a[14], '4');
		assert_non_null(strchr("89ab", a[19]));
		assert_string_not_equal(a, b);
	}
}

static void other_texts_are_none(void **state)
{
	static const char *const others[] = {"", "x", "123e4567-e89b-42d3-a456-42661417400",
		"123e4567-e89b-42d3-a456-4266141740000", "123E4567-e89b-42d3-a456-426614174000",
		"123e4567-e89b-42d3-a456_426614174000", "123e4567e89b-42d3-a456-4266141740000"};

	assert_true(uuid_is_text("123e4567-e89b-42d3-a456-426614174000"));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_false(uuid_is_text(others[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh_ones_are_of_version_4_and_differ),
		cmocka_unit_test(other_texts_are_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
