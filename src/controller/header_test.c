#include "controller/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int check(struct header h)
{
	struct error err = {0};
	int status = header_check(&h, &err);

	assert_true(status == 0 || err.text[0]);
	return status;
}

static void a_request_has_one_end(void **state)
{
	assert_int_equal(check((struct header){0}), 0);
	assert_int_equal(check((struct header){.content_length = "5"}), 0);
	assert_int_equal(check((struct header){.transfer_encoding = "Chunked"}), 0);
	assert_int_equal(check((struct header){.transfer_encoding = "gzip, chunked"}), 501);
	assert_int_equal(check((struct header){.transfer_encoding = ""}), 501);
	assert_int_equal(
		check((struct header){.transfer_encoding = "chunked", .content_length = "0"}), 400);
	assert_int_equal(check((struct header){.host = "x", .twice = true}), 400);
}

static bool accepts(const char *accept)
{
	const struct header h = {.accept = accept};

	return header_accepts(&h, "text/event-stream");
}

static void a_stream_is_asked_for_by_name(void **state)
{
	assert_true(accepts("text/event-stream"));
	assert_true(accepts("application/json, Text/Event-Stream;q=0.9"));
	assert_false(accepts(NULL));
	assert_false(accepts(""));
	assert_false(accepts(" , ,"));
	assert_false(accepts("*/*"));
	assert_false(accepts("text/event-streams"));
}

static void bodies_are_json_by_name(void **state)
{
	assert_true(header_is_json(&(struct header){.content_type = "application/json"}));
	assert_true(header_is_json(
		&(struct header){.content_type = "application/json; charset=utf-8"}));
	assert_false(header_is_json(&(struct header){.content_type = "application/jsonp"}));
	assert_false(header_is_json(&(struct header){.content_type = "text/json"}));
	assert_false(header_is_json(&(struct header){0}));
}

static const char *if_match(const char *text)
{
	static char ret[8];

	return header_etag(text, ret, sizeof(ret));
}

static void a_revision_stands_in_quotes(void **state)
{
	assert_null(if_match(NULL));
	assert_string_equal(if_match("\"17\""), "17");
	assert_string_equal(if_match("*"), "*");
	assert_string_equal(if_match("\"\""), "");
	assert_string_equal(if_match("\""), "\"");
	/* Of no revision: several, a weak one, one that is too long. */
	assert_string_not_equal(if_match("\"1\", \"2\""), "1");
	assert_string_not_equal(if_match("W/\"1\""), "1");
	assert_int_equal(strlen(if_match("\"12345678901234567890\"")), 7);
}

static void a_length_is_what_is_announced(void **state)
{
	assert_int_equal(header_body_length(&(struct header){.content_length = "1000"}), 1000);
	assert_int_equal(header_body_length(&(struct header){0}), 0);
	assert_true(header_body_length(&(struct header){
			    .content_length = "99999999999999999999999"}) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_has_one_end),
		cmocka_unit_test(a_stream_is_asked_for_by_name),
		cmocka_unit_test(bodies_are_json_by_name),
		cmocka_unit_test(a_revision_stands_in_quotes),
		cmocka_unit_test(a_length_is_what_is_announced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
