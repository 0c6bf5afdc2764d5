#include "engine/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/policy.h"
#include "lib/file.h"

static char own[] = "/tmp/wnodes-network-XXXXXX", pushed[] = "/tmp/wnodes-pushed-XXXXXX";

static int setup(void **state)
{
	int a = mkstemp(own), b = mkstemp(pushed);

	return close(a) + close(b);
}

static int teardown(void **state)
{
	unlink(own);
	unlink(pushed);
	return 0;
}

static int load(struct networks *n, const char *text, const char *below, struct error *err)
{
	file_replace(AT_FDCWD, own, text, strlen(text), 0600);
	file_replace(AT_FDCWD, pushed, below, strlen(below), 0600);
	*err = (struct error){0};
	return networks_load(n, pushed, own, err);
}

static void networks_stand_beside_all_else_of_the_file(void **state)
{
	struct networks n AUTO(networks_done) = {network_section};
	struct settings settings AUTO(settings_done) = {0};
	struct policies policies AUTO(policies_done) = {policy_section};
	const struct network *lab;
	struct error err;

	if (load(&n,
		    "[network lab]\nuplink = eth0\nvlan = 7\nclass = closed\n"
		    "site_networks = 10.0.0.0/8, 2001:db8::/32\nrate_up = 10M\n"
		    "[policy all]\nnetwork = lab\nlocked = network\n"
		    "[network other]\n[run]\nnetwork = lab\n",
		    "", &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(n.list.count, 2);
	lab = networks_find(&n, "lab");
	assert_string_equal(lab->name, "lab");
	assert_true(lab->closed);
	assert_int_equal(lab->rate_up, 10 * 1024 * 1024);
	assert_ptr_equal(networks_find(&n, "bridge"), lab);
	assert_null(networks_find(&n, "none"));
	assert_int_equal(settings_load_from(&settings, pushed, own, &err), 0);
	assert_string_equal(settings.network, "lab");
	assert_int_equal(policies_load(&policies, NULL, own, &err), 0);
	assert_string_equal(policies_get(&policies, 0)->values.network, "lab");
}

static void own_network_stands_for_the_site_s(void **state)
{
	struct networks n AUTO(networks_done) = {network_section};
	struct error err;

	assert_int_equal(load(&n, "[network a]\nbridge = br1\n",
				 "[network b]\nbridge = br2\n[network a]\nbridge = br3\n", &err),
		0);
	assert_int_equal(n.list.count, 2);
	assert_string_equal(networks_find(&n, "a")->bridge, "br1");
	assert_string_equal(networks_find(&n, "b")->bridge, "br2");
}

static void what_is_wrong_is_said_with_its_line(void **state)
{
	static const struct {
		const char *text, *why;
	} wrong[] = {
		{"bridge = br0\nuplink = eth0\n", "one or the other"},
		{"uplink = eth0\n", "uplink needs vlan"},
		{"vlan = 5\n", "vlan needs uplink or bridge"},
		{"vlan = 4095\n", "4095"},
		{"class = closed\n", "site_networks"},
		{"class = half\n", "open|closed"},
		{"site_networks = 10.0.0.0\n", "ADDRESS/BITS"},
		{"site_networks = 10.0.0.0/33\n", "ADDRESS/BITS"},
		{"nameservers = 10.0.0.300\n", "no address"},
		{"gateway = fe80::1\n", "no IPv4 address"},
		{"addresses = 10.0.0.1\n", "range of one network"},
		{"addresses = 10.0.0.9-10.0.0.1/24\n", "range of one network"},
		{"addresses = 10.0.0.1-10.0.1.1/24\n", "range of one network"},
		{"addresses = 10.0.0.1-10.2.0.1/8\n", "range of one network"},
		{"prefix6 = 2001:db8::/48\n", "64 bits"},
		{"gateway6 = 10.0.0.1\n", "no IPv6 address"},
		{"gateway6 = fe80::1\n", "needs prefix6"},
		{"bridge = br0\nnode_address = 10.0.0.1/24\n", "br0"},
		{"guaranteed = 1M\n", "capacity"},
		{"mtu = 500\n", "1280"},
	};
	struct networks n AUTO(networks_done) = {network_section};
	char text[256];
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(text, sizeof(text), "[network x]\n%s", wrong[i].text);
		assert_int_equal(load(&n, text, "", &err), -EINVAL);
		if (!strstr(err.text, wrong[i].why) || !strstr(err.text, own))
			fail_msg("%s: %s", wrong[i].text, err.text);
		assert_int_equal(n.list.count, 0);
	}
	assert_int_equal(load(&n, "[network user]\n", "", &err), -EINVAL);
	assert_int_equal(load(&n, "[network twelve-chars]\n", "", &err), -EINVAL);
	assert_int_equal(load(&n, "[network a]\n[network a]\n", "", &err), -EINVAL);
	assert_int_equal(load(&n, "[policy x]\nnetwork = /etc\n", "", &err), -EINVAL);
}

static void range_is_read(void **state)
{
	struct networks n AUTO(networks_done) = {network_section};
	struct network_range range;
	struct error err;

	assert_int_equal(load(&n, "[network a]\naddresses = 10.1.0.10-10.1.0.99/24\n[network b]\n",
				 "", &err),
		0);
	assert_int_equal(network_get_range(networks_find(&n, "a"), &range), 0);
	assert_int_equal(range.first, 0x0a01000a);
	assert_int_equal(range.last, 0x0a010063);
	assert_int_equal(range.prefix, 24);
	assert_int_equal(network_get_range(networks_find(&n, "b"), &range), -ENOENT);
}

static void vlans_are_numbers_and_ranges(void **state)
{
	const char *list[] = {"5", "100-199", NULL}, *none[] = {NULL};

	assert_true(network_has_vlan(list, 5) && network_has_vlan(list, 100));
	assert_true(network_has_vlan(list, 199) && network_has_vlan(none, 7));
	assert_false(network_has_vlan(list, 6) || network_has_vlan(list, 200));
}

#define EACH(test) cmocka_unit_test(test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(networks_stand_beside_all_else_of_the_file),
		EACH(own_network_stands_for_the_site_s),
		EACH(what_is_wrong_is_said_with_its_line),
		EACH(range_is_read),
		EACH(vlans_are_numbers_and_ranges),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
