#include "vm/quote.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_quoted(const char *value, const char *expected)
{
	autofree char *quoted = quote_option(value);

	assert_string_equal(quoted, expected);
}

static void commas_are_doubled_and_nothing_else_changes(void **state)
{
	assert_quoted("/home/user", "/home/user");
	assert_quoted("/a,b", "/a,,b");
	assert_quoted(",,", ",,,,");
	assert_quoted("/x,readonly=off", "/x,,readonly=off");
	assert_quoted("= '\"\\\n", "= '\"\\\n");
	assert_quoted("", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commas_are_doubled_and_nothing_else_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
