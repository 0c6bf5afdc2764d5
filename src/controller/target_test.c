#include "controller/target.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int decode(const char *text, bool plus, char ret[16])
{
	return target_decode(text, strlen(text), plus, ret, 16);
}

static void parts_are_decoded(void **state)
{
	char text[16];

	assert_int_equal(decode("a%2fb+%C3%A9", false, text), 0);
	assert_string_equal(text, "a/b+\xc3\xa9");
	assert_int_equal(decode("a+b", true, text), 0);
	assert_string_equal(text, "a b");
	assert_int_equal(decode("", true, text), 0);
	assert_string_equal(text, "");
	assert_int_equal(decode("123456789012345", true, text), 0);
	assert_int_equal(decode("1234567890123456", true, text), -ENAMETOOLONG);
	assert_int_equal(decode("%7f", true, text), -EINVAL);
	assert_int_equal(decode("%c3", true, text), -EINVAL);
}

static void a_query_is_an_object_of_texts(void **state)
{
	struct error err = {0};
	json_t *query = NULL;

	assert_int_equal(target_parse_query("a=1&&b&c=x%3Dy=z", &query, &err), 0);
	assert_int_equal(json_object_size(query), 3);
	assert_string_equal(json_string_value(json_object_get(query, "b")), "");
	assert_string_equal(json_string_value(json_object_get(query, "c")), "x=y=z");
	json_decref(query);
}

static void a_query_has_its_limits(void **state)
{
	char text[8192] = "a=";
	struct error err = {0};
	json_t *query = NULL;
	size_t used = 0;

	memset(text + 2, 'x', 5000);
	assert_int_equal(target_parse_query(text, &query, &err), -EINVAL);
	for (int i = 0; i < 40; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "a%d=1&", i);
	assert_int_equal(target_parse_query(text, &query, &err), -EINVAL);
	assert_int_equal(target_parse_query("a=1&a=1", &query, &err), -EINVAL);
	assert_null(query);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_are_decoded),
		cmocka_unit_test(a_query_is_an_object_of_texts),
		cmocka_unit_test(a_query_has_its_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
