#include "courier/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *text, const char *expected)
{
	json_t *json = reason_to_json(text, "nothing");

	assert_string_equal(json_string_value(json), expected);
	json_decref(json);
}

static void any_text_becomes_one(void **state)
{
	char text[2 * REASON_MAX];
	json_t *json;

	check("it is full", "it is full");
	check("\xc3\xa4", "\xc3\xa4");
	check("a\xff\xc3", "a??");
	check("", "nothing");
	check(NULL, "nothing");
	memset(text, 'x', sizeof(text));
	memcpy(text + REASON_MAX - 1, "\xc3\xa4", 2);
	text[sizeof(text) - 1] = '\0';
	json = reason_to_json(text, "nothing");
	assert_int_equal(json_string_length(json), REASON_MAX);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_text_becomes_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
