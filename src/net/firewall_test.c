#include "net/firewall.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/child.h"
#include "net/bubble_test.h"

#define HEADERS 10 /* virtio's, before each frame */
#define OWN     "525700000001"
#define OTHER   "525700000002"
#define ALL     "ffffffffffff"

/* 10.0.0.1 is the VM, 10.0.0.2 another, 10.9.0.5 of the site, 9.9.9.9 outside. */
#define IP(proto, from, to) \
	"45000030000000004" \
	"0" proto "0000" from to
#define UDP(from, to)      \
	from to "001c0000" \
		"0102030405060708090a0b0c0d0e0f1011121314"
#define VM4     "0a000001"
#define OTHER4  "0a000002"
#define SITE4   "0a090005"
#define SERVER4 "0a090035"
#define FAR4    "09090909"
#define ARP(mac, ip) \
	"0806"       \
	"0001080006040001" mac ip "000000000000" OTHER4
#define VM6    "fe80000000000000505700fffe000001"
#define OTHER6 "fe80000000000000505700fffe000002"
#define GROUP6 "ff020000000000000000000000000001"
#define NONE6  "00000000000000000000000000000000"
#define IP6(next, from) \
	"86dd"          \
	"600000000020" next "ff" from GROUP6
#define ADVERT(target) \
	"88000000"     \
	"20000000" target "0201525700000001"

#define ADVERTISEMENT      \
	"8600000040000708" \
	"0000000000000000" \
	"0101525700000001"

static const struct frame {
	const char *what, *bytes; /* from the source's MAC on */
	bool passes;
} frames[] = {
	{"IPv4 of its own", OWN "0800" IP("11", VM4, FAR4) UDP("1000", "0035"), true},
	{"another's MAC", OTHER "0800" IP("11", VM4, FAR4) UDP("1000", "0035"), false},
	{"another's IPv4", OWN "0800" IP("11", OTHER4, FAR4) UDP("1000", "0035"), false},
	{"a DHCP client", OWN "0800" IP("11", "00000000", "ffffffff") UDP("0044", "0043"), true},
	{"a DHCP server", OWN "0800" IP("11", VM4, "ffffffff") UDP("0043", "0044"), false},
	{"nobody's IPv4", OWN "0800" IP("11", "00000000", FAR4) UDP("1000", "0035"), false},
	{"ICMP redirect", OWN "0800" IP("01", VM4, FAR4) UDP("0500", "0000"), false},
	{"to the site", OWN "0800" IP("11", VM4, SITE4) UDP("1000", "0016"), false},
	{"name server", OWN "0800" IP("11", VM4, SERVER4) UDP("1000", "0035"), true},
	{"the name server's ssh", OWN "0800" IP("06", VM4, SERVER4) UDP("1000", "0016"), false},
	{"ARP of its own", OWN ARP(OWN, VM4), true},
	{"ARP probe", OWN ARP(OWN, "00000000"), true},
	{"ARP for another", OWN ARP(OWN, OTHER4), false},
	{"ARP with another's MAC", OWN ARP(OTHER, VM4), false},
	{"ARP that is not of IPv4",
		OWN "0806"
		    "0001888806040001" OWN VM4 OWN VM4,
		false},
	{"IPv6 of its own", OWN IP6("11", VM6) UDP("1000", "0035") "00000000", true},
	{"another's IPv6", OWN IP6("11", OTHER6) UDP("1000", "0035") "00000000", false},
	{"router advertisement", OWN IP6("3a", VM6) ADVERTISEMENT, false},
	{"less than it says", OWN IP6("3a", VM6) "860000004000070800000000", false},
	{"a neighbour, itself", OWN IP6("3a", VM6) ADVERT(VM6), true},
	{"a neighbour, another", OWN IP6("3a", VM6) ADVERT(OTHER6), false},
	{"solicitation of nobody", OWN IP6("3a", NONE6) "8700000000000000" VM6 "0e01525700000001",
		true},
	{"IPv6 of nobody", OWN IP6("11", NONE6) UDP("1000", "0035") "00000000", false},
	{"fragment on the link", OWN IP6("2c", VM6) "3a00000100000001" VM6 VM6, false},
	{"a DHCPv6 server", OWN IP6("11", VM6) UDP("0223", "0222") "00000000", false},
	{"VLAN tag",
		OWN "8100"
		    "0005"
		    "0800" IP("11", VM4, FAR4) UDP("1000", "0035"),
		false},
	{"priority tag",
		OWN "8100"
		    "0000"
		    "0800" IP("11", VM4, FAR4) UDP("1000", "0035"),
		false},
	{"provider's tag",
		OWN "88a8"
		    "0005"
		    "0800" IP("11", VM4, FAR4) UDP("1000", "0035"),
		false},
	{"something else",
		OWN "88cc"
		    "0000000000000000000000000000000000000000000000",
		false},
	{"spanning tree",
		OWN "0026"
		    "424203000000000000000000000000000000000000000000",
		false},
};

static int tap = -1, watcher = -1;
static struct link port;

static size_t from_hex(const char *text, uint8_t *ret)
{
	size_t n = 0;

	for (; text[0]; text += 2)
		sscanf(text, "%2hhx", &ret[n++]);
	return n;
}

static void send_frame(const char *text)
{
	uint8_t bytes[512] = {0};
	size_t n = HEADERS + from_hex(ALL, bytes + HEADERS);

	n += from_hex(text, bytes + n);
	n = MAX_OF(n, (size_t)HEADERS + 60);
	assert_int_equal(write(tap, bytes, n), n);
}

static struct firewall_port our_port(void)
{
	struct firewall_port p = {.device = "wnt1", .network = "lab", .closed = true};

	from_hex(OWN, p.mac);
	from_hex(VM4, (uint8_t *)&p.address);
	from_hex(VM6, p.addresses6[0].s6_addr);
	p.address6_count = 1;
	return p;
}

static void need(int r, const struct error *err)
{
	if (r < 0)
		fail_msg("%s", err->text);
}

static int setup(void **state)
{
	static const char *const site[] = {
		"10.9.0.0/16", "192.168.0.0/16", "2001:db8:9::/48", NULL};
	static const char *const servers[] = {"10.9.0.53", NULL};
	const struct firewall_network network = {
		.name = "lab", .closed = true, .site = site, .nameservers = servers};
	struct error err = {0};

	need(link_open_tap("wnt1", 1, &tap, &err), &err);
	link_get(bubble, "wnt1", &port);
	link_change(bubble, port.index, &(struct link_change){.up = true});
	watcher = bubble_watch("wnt1");
	need(firewall_open(&err), &err);
	need(firewall_set_network(&network, &err), &err);
	need(firewall_set_network(&network, &err), &err);
	return 0;
}

static int teardown(void **state)
{
	static const char *const devices[] = {"wnt1", "wnt0"};
	struct error err = {0};

	need(firewall_remove(devices, 2, &err), &err);
	link_remove(bubble, "wnt1");
	watcher = base_close(watcher);
	tap = base_close(tap);
	return 0;
}

static void frames_pass_or_do_not(void **state)
{
	const struct firewall_port p = our_port();
	struct error err = {0};

	if (watcher < 0)
		skip();
	while (bubble_sees(watcher, 100))
		;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) { /* without rules all of them pass */
		send_frame(frames[i].bytes);
		if (!bubble_sees(watcher, 200))
			fail_msg("%s: the test's own frame is not seen", frames[i].what);
	}
	need(firewall_add(&p, &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		send_frame(frames[i].bytes);
		if (bubble_sees(watcher, frames[i].passes ? 200 : 20) != frames[i].passes)
			fail_msg("%s", frames[i].what);
	}
}

static bool arrives(int sender, const char *text)
{
	struct pollfd p = {.fd = tap, .events = POLLIN};
	uint8_t bytes[512], got[512];
	size_t n = from_hex(OWN, bytes);
	ssize_t length;

	n += from_hex(text, bytes + n);
	if (send(sender, bytes, n, 0) < 0)
		return false; /* who sends is told of what is dropped */
	while (poll(&p, 1, 50) > 0) {
		length = read(tap, got, sizeof(got));
		if (length == (ssize_t)n + HEADERS && memcmp(got + HEADERS, bytes, n) == 0)
			return true;
	}
	return false;
}

static void site_does_not_reach_a_closed_network(void **state)
{
	const struct firewall_port p = our_port();
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = port.index};
	autoclose int sender = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct error err = {0};

	assert_int_equal(bind(sender, (struct sockaddr *)&address, sizeof(address)), 0);
	need(firewall_add(&p, &err), &err);
	assert_true(arrives(sender, OTHER "0800" IP("11", FAR4, VM4) UDP("0035", "1000")));
	assert_false(arrives(sender, OTHER "0800" IP("11", SITE4, VM4) UDP("0016", "1000")));
	assert_true(arrives(sender, OTHER "0800" IP("11", SERVER4, VM4) UDP("0035", "1000")));
	assert_true(arrives(sender, OTHER "0800" IP("01", SITE4, VM4) UDP("0304", "0000")));
}

static void nfs_server_is_reached_while_it_may_be(void **state)
{
	static const char request[] = OWN "0800" IP("06", VM4, SITE4) UDP("03e8", "0801");
	static const char other[] = OWN "0800" IP("06", VM4, SITE4) UDP("03e8", "0016");
	static const char answer[] = OTHER "0800" IP("06", SITE4, VM4) UDP("0801", "03e8");
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = port.index};
	autoclose int sender = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct firewall_port p = our_port();
	struct error err = {0};

	if (watcher < 0)
		skip();
	from_hex(SITE4, (uint8_t *)&p.server);
	assert_int_equal(bind(sender, (struct sockaddr *)&address, sizeof(address)), 0);
	need(firewall_add(&p, &err), &err);
	need(firewall_begin_served(p.address, &err), &err);
	for (int admitted = 0; admitted < 2; admitted++) {
		if (admitted)
			need(firewall_admit(p.address, &err), &err);
		while (bubble_sees(watcher, 20))
			;
		send_frame(request);
		assert_int_equal(bubble_sees(watcher, 200), admitted);
		send_frame(other);
		assert_false(bubble_sees(watcher, 20));
		assert_int_equal(arrives(sender, answer), admitted);
	}
	need(firewall_admit(p.address, &err), &err); /* is so already */
	need(firewall_dismiss(p.address, &err), &err);
	need(firewall_dismiss(p.address, &err), &err);
	while (bubble_sees(watcher, 20))
		;
	send_frame(request);
	assert_false(bubble_sees(watcher, 20));
	need(firewall_dismiss_all(&err), &err);
	need(firewall_end_served(p.address, &err), &err);
	need(firewall_end_served(p.address, &err), &err);
}

static void vm_that_sends_too_much_is_held_to_its_rate(void **state)
{
	struct firewall_port p = our_port();
	struct error err = {0};
	int seen = 0;

	if (watcher < 0)
		skip();
	p.rate = 10000;
	need(firewall_add(&p, &err), &err);
	for (int i = 0; i < 10000; i++) { /* 0.6 MB; a second and the burst are 0.08 */
		send_frame(frames[0].bytes);
		seen += bubble_sees(watcher, 0);
	}
	while (bubble_sees(watcher, 20))
		seen++;
	assert_in_range(seen, 300, 3000);
}

static bool has_rules(const char *device)
{
	const char *const argv[] = {"nft", "list", "chain", "netdev", "wnodes", device, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};

	spec.argv = argv;
	return child_run(&spec, 5000, &err) == 0;
}

static bool has_nft(void)
{
	const char *const argv[] = {"nft", "--version", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};

	spec.argv = argv;
	return child_run(&spec, 5000, &err) == 0;
}

static void rules_of_what_is_gone_are_swept(void **state)
{
	struct firewall_port p = our_port();
	struct error err = {0};

	need(firewall_add(&p, &err), &err);
	assert_true(has_rules("wnt1") && has_rules("to-wnt1"));
	assert_int_equal(firewall_sweep("wnt", &err), 0);
	assert_true(has_rules("wnt1") && has_rules("to-wnt1"));
	link_remove(bubble, "wnt1");
	assert_int_equal(firewall_sweep("wnt", &err), 0);
	assert_false(has_rules("wnt1") || has_rules("to-wnt1"));
	assert_true(has_rules("net-lab"));
}

static void failure_says_what_the_kernel_said(void **state)
{
	struct firewall_port p = our_port();
	struct error err = {0};

	p.device = "wnt9";
	p.network = "unknown";
	assert_true(firewall_add(&p, &err) < 0);
	assert_non_null(strstr(err.text, "cannot set the rules of a VM's network card: "));
	assert_false(has_rules("wnt9"));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(frames_pass_or_do_not),
		EACH(site_does_not_reach_a_closed_network),
		EACH(nfs_server_is_reached_while_it_may_be),
		EACH(vm_that_sends_too_much_is_held_to_its_rate),
		EACH(rules_of_what_is_gone_are_swept),
		EACH(failure_says_what_the_kernel_said),
	};
	int r;

	if (!has_nft() || !bubble_enter())
		return 77; /* skipped */
	r = cmocka_run_group_tests(tests, NULL, NULL);
	bubble = netlink_free(bubble);
	return r;
}
