#include "engine/card.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct card card;

static int parse(const char *text, struct error *err)
{
	json_t *json = json_loads(text, 0, NULL);
	int r = card_parse(json, &card, err);

	json_decref(json);
	return r;
}

static void addresses_are_taken(void **state)
{
	struct error err = {0};

	assert_int_equal(parse("{\"mac\":\"52:57:0a:01:00:0a\",\"address\":\"10.1.0.10\","
			       "\"prefix\":24,\"gateway\":\"10.1.0.1\",\"mtu\":1450,"
			       "\"nameservers\":[\"10.1.0.2\",\"2001:db8::1\",7,\"no\"]}",
				 &err),
		0);
	assert_string_equal(card.mac, "52:57:0a:01:00:0a");
	assert_string_equal(card.address, "10.1.0.10");
	assert_string_equal(card.gateway, "10.1.0.1");
	assert_int_equal(card.prefix, 24);
	assert_int_equal(card.mtu, 1450);
	assert_string_equal(card.nameservers[1], "2001:db8::1");
	assert_null(card.nameservers[2]);
}

static void gateway_and_the_rest_may_be_missing(void **state)
{
	struct error err = {0};

	assert_int_equal(parse("{\"mac\":\"52:57:0a:01:00:0a\",\"address\":\"10.1.0.10\","
			       "\"prefix\":24,\"gateway\":null}",
				 &err),
		0);
	assert_string_equal(card.gateway, "");
	assert_null(card.nameservers[0]);
}

static void ipv6_is_taken_where_there_is_any(void **state)
{
	static const char *const none[] = {"", ",\"address6\":\"10.0.0.1\",\"prefix6\":64",
		",\"address6\":\"2001:db8::1\"", ",\"address6\":\"2001:db8::1\",\"prefix6\":129"};
	struct error err = {0};

	assert_int_equal(parse("{\"mac\":\"52:57:0a:01:00:0a\",\"address\":\"10.1.0.10\","
			       "\"prefix\":24,\"address6\":\"2001:db8::a\",\"prefix6\":64,"
			       "\"gateway6\":\"fe80::1\"}",
				 &err),
		0);
	assert_string_equal(card.address6, "2001:db8::a");
	assert_int_equal(card.prefix6, 64);
	assert_string_equal(card.gateway6, "fe80::1");
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		char text[256];

		snprintf(text, sizeof(text),
			"{\"mac\":\"52:57:0a:01:00:0a\",\"address\":\"10.1.0.10\",\"prefix\":24%s}",
			none[i]);
		assert_int_equal(parse(text, &err), 0);
		assert_string_equal(card.address6, "");
		assert_string_equal(card.gateway6, "");
	}
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const wrong[] = {
		"{}",
		"[]",
		"{\"mac\":\"52:57:0a:01:00:0a\",\"address\":\"10.1.0\",\"prefix\":24}",
		"{\"mac\":\"52:57:0a:01:00:0a\",\"address\":\"10.1.0.1\",\"prefix\":33}",
		"{\"mac\":\"52:57:0a:01:00:0a\",\"address\":\"10.1.0.1\"}",
		"{\"mac\":\"52:57:0a:01:00\",\"address\":\"10.1.0.1\",\"prefix\":24}",
		"{\"mac\":\"52:57:0a:01:00:0a:0b\",\"address\":\"10.1.0.1\",\"prefix\":24}",
		"{\"mac\":\"52:57:0a:01:00:0a\",\"address\":\"10.1.0.1\",\"prefix\":24,\"mtu\":-1}",
	};
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(parse(wrong[i], &err), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_taken),
		cmocka_unit_test(gateway_and_the_rest_may_be_missing),
		cmocka_unit_test(ipv6_is_taken_where_there_is_any),
		cmocka_unit_test(what_is_no_address_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
