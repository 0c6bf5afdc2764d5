#include "controller/place.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct place_rule good = {
	.host_pattern = "wn-%04d",
	.domain = "example.org",
	.first_address = "10.1.0.10",
	.gateway = "10.1.0.1",
	.mac_prefix = "52:54:01",
	.prefix = 16,
	.size = 2000,
};

static void places_are_counted_on_from_the_first(void **state)
{
	struct place p;
	struct error err = {0};

	assert_int_equal(place_check_rule(&good, &err), 0);
	place_make(&good, 1, &p);
	assert_string_equal(p.name, "wn-0001.example.org");
	assert_string_equal(p.address, "10.1.0.10");
	assert_string_equal(p.mac, "52:54:01:00:00:01");
	place_make(&good, 2000, &p);
	assert_string_equal(p.name, "wn-2000.example.org");
	assert_string_equal(p.address, "10.1.7.217");
	assert_string_equal(p.mac, "52:54:01:00:07:d0");
}

static void check(const char *member, const char *text, const char *reason)
{
	struct place_rule rule = good;
	struct error err = {0};
	char *const members[] = {
		rule.host_pattern, rule.domain, rule.first_address, rule.gateway, rule.mac_prefix};
	static const char *const names[] = {"host", "domain", "first", "gateway", "mac"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(names[i], member))
			strcpy(members[i], text);
	if (!reason) {
		if (place_check_rule(&rule, &err) < 0)
			fail_msg("%s '%s': %s", member, text, err.text);
		return;
	}
	if (place_check_rule(&rule, &err) != -EINVAL)
		fail_msg("%s '%s' passes", member, text);
	if (!strstr(err.text, reason))
		fail_msg("%s '%s': %s", member, text, err.text);
}

static void patterns_have_the_number_once_and_make_host_names(void **state)
{
	static const char *const wrong[] = {"wn", "wn-%d", "wn-%4d", "wn-%00d", "wn-%04d-%04d",
		"%s", "%n%04d", "wn-%04d%n", "wn-%04x", "wn%%04d", "%", "%0", "%04", "wn-%0444d"};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		check("host", wrong[i], "is no pattern");
	check("host", "-%04d", "are no host names");
	check("host", "WN-%04d", "are no host names");
	check("host", "wn.%04d", "are no host names");
	check("host", "wn%04d-", "are no host names");
	check("host", "w n%04d", "are no host names");
	check("host", "w\xc3\xa4%04d", "are no host names");
	check("host", "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww%09d",
		"no host names");
	check("host", "%09d", NULL);
	check("host", "a%01dz", NULL);
	check("domain", "", NULL);
	check("domain", "example..org", "is no domain");
	check("domain", ".org", "is no domain");
	check("domain", "Example.org", "is no domain");
}

static void addresses_are_of_hosts_within_the_network(void **state)
{
	check("first", "10.1.0", "is no IPv4 address");
	check("first", "010.1.0.1", "is no IPv4 address");
	check("first", "10.1.0.0", "not all of hosts");
	check("first", "10.1.250.0", "not all of hosts");
	check("first", "10.1.248.48", "not all of hosts");
	check("first", "10.1.248.47", NULL);
	check("first", "127.0.0.2", "not all of hosts");
	check("first", "224.0.0.2", "not all of hosts");
	check("first", "0.0.0.2", "not all of hosts");
	check("first", "255.255.255.250", "not all of hosts");
	check("gateway", "10.2.0.1", "is not in the network");
	check("gateway", "10.1.0.10", "is not in the network");
	check("gateway", "10.1.7.217", "is not in the network");
	check("gateway", "10.1.7.218", NULL);
	check("gateway", "", NULL);
	check("gateway", "host", "is no IPv4 address");
}

static void macs_are_unicast_and_local(void **state)
{
	check("mac", "52:54", "does not begin");
	check("mac", "52:54:01:00:00:01", "does not begin");
	check("mac", "52:54:0", "does not begin");
	check("mac", "52-54-01", "does not begin");
	check("mac", "52:54:01:", "does not begin");
	check("mac", "52:54:0G", "does not begin");
	check("mac", "53:54:01", "not unicast");
	check("mac", "00:16:3e", "not unicast");
	check("mac", "02:00:00", NULL);
	check("mac", "fe:00:00:00", NULL);
	check("mac", "52:54:01:00:00", "begins fewer");
}

static void the_most_places_still_fit(void **state)
{
	struct place_rule rule = good;
	struct place last;
	struct error err = {0};

	strcpy(rule.first_address, "10.0.1.1");
	strcpy(rule.gateway, "10.0.0.1");
	rule.prefix = 8;
	rule.size = PLACE_COUNT_MAX;
	assert_int_equal(place_check_rule(&rule, &err), 0);
	place_make(&rule, rule.size, &last);
	assert_string_equal(last.name, "wn-65536.example.org");
	assert_string_equal(last.address, "10.1.1.0");
	rule.size++;
	assert_int_equal(place_check_rule(&rule, &err), -EINVAL);
	rule.size = 0;
	assert_int_equal(place_check_rule(&rule, &err), -EINVAL);
	rule.size = 1;
	rule.prefix = 31;
	assert_int_equal(place_check_rule(&rule, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_are_counted_on_from_the_first),
		cmocka_unit_test(patterns_have_the_number_once_and_make_host_names),
		cmocka_unit_test(addresses_are_of_hosts_within_the_network),
		cmocka_unit_test(macs_are_unicast_and_local),
		cmocka_unit_test(the_most_places_still_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
