#include "controller/exchange.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "controller/route.h"

static const char *error_of(const struct exchange *x)
{
	const char *text = json_string_value(json_object_get(x->answer, "error"));

	assert_non_null(text);
	assert_int_equal(json_integer_value(json_object_get(x->answer, "status")), x->status);
	return text;
}

static void an_error_is_an_object_with_a_harmless_text(void **state)
{
	struct exchange x = {.etag = "7", .text = strdup("x")};

	assert_int_equal(exchange_fail(&x, 404, "no '%s'", "a\n\x1b\xff"), 404);
	assert_string_equal(error_of(&x), "no 'a ?"
					  "?'");
	assert_string_equal(x.etag, "");
	assert_null(x.text);
	assert_int_equal(x.retry_after_s, 0);
	assert_int_equal(exchange_fail(&x, 503, "later"), 503);
	assert_int_equal(x.retry_after_s, 1);
	exchange_done(&x);
}

static void an_error_of_the_database_has_its_status(void **state)
{
	struct exchange x = {0};
	struct error err = {.text = "secret"};

	assert_int_equal(exchange_fail_sql(&x, -ENOTCONN, &err), 503);
	assert_int_equal(exchange_fail_sql(&x, -EAGAIN, &err), 503);
	assert_int_equal(exchange_fail_sql(&x, -EEXIST, &err), 409);
	assert_int_equal(exchange_fail_sql(&x, -ENOSPC, &err), 507);
	assert_int_equal(exchange_fail_sql(&x, -EIO, &err), 500);
	assert_null(strstr(error_of(&x), "secret"));
	exchange_done(&x);
}

static void a_change_needs_the_revision_that_was_read(void **state)
{
	static const struct route route = {.matches = true};
	struct exchange x = {.route = &route};

	assert_int_equal(exchange_check_match(&x, 3), 428);
	x.if_match = "2";
	assert_int_equal(exchange_check_match(&x, 3), 412);
	x.if_match = "3";
	assert_int_equal(exchange_check_match(&x, 3), 0);
	x.if_match = "*";
	assert_int_equal(exchange_check_match(&x, 3), 0);
	exchange_done(&x);
}

static void a_body_is_an_object(void **state)
{
	static const char *const wrong[] = {"x", "[]", "7", "{\"a\":1,\"a\":2}", "{} {}",
		"{\"a\":}", "{\"a\":\"\\u0000\"}", "{\"a\":\"\xff\"}"};
	struct exchange x = {0};

	assert_int_equal(exchange_parse_body(&x, "", 0), 0);
	assert_null(x.body);
	assert_int_equal(exchange_parse_body(&x, "{\"a\":[\"[[[\"]}", 13), 0);
	assert_non_null(json_object_get(x.body, "a"));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (exchange_parse_body(&x, wrong[i], strlen(wrong[i])) != 400)
			fail_msg("not refused: %s", wrong[i]);
	exchange_done(&x);
}

static void a_body_is_not_deep(void **state)
{
	char text[4096] = "{\"a\":";
	struct exchange x = {0};

	memset(text + 5, '[', 2000);
	assert_int_equal(exchange_parse_body(&x, text, 2005), 400);
	assert_non_null(strstr(error_of(&x), "deep"));
	memcpy(text, "{\"a\":[[[[1]]]]}", 15);
	assert_int_equal(exchange_parse_body(&x, text, 15), 0);
	exchange_done(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_is_an_object_with_a_harmless_text),
		cmocka_unit_test(an_error_of_the_database_has_its_status),
		cmocka_unit_test(a_change_needs_the_revision_that_was_read),
		cmocka_unit_test(a_body_is_an_object),
		cmocka_unit_test(a_body_is_not_deep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
