#include "net/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if_arp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "net/bubble_test.h"

static void need(int r, const struct error *err)
{
	if (r < 0)
		fail_msg("%s", err->text);
}

static void tap_goes_with_its_last_descriptor(void **state)
{
	struct error err = {0};
	struct link link;
	int fds[2];

	need(link_open_tap("wnt1", 2, fds, &err), &err);
	assert_int_equal(link_get(bubble, "wnt1", &link), 0);
	assert_string_equal(link.kind, "tun");
	assert_string_equal(link.name, "wnt1");
	assert_false(link.up);
	close(fds[0]);
	assert_int_equal(link_get(bubble, "wnt1", &link), 0);
	close(fds[1]);
	assert_int_equal(link_get(bubble, "wnt1", &link), -ENODEV);
}

static void tap_of_another_is_not_taken_over(void **state)
{
	struct error err = {0};
	int fd, other;

	need(link_open_tap("wnt1", 1, &fd, &err), &err);
	assert_true(link_open_tap("wnt1", 1, &other, &err) < 0);
	assert_non_null(strstr(err.text, "wnt1"));
	close(fd);
}

static void removed_tap_is_of_no_use_to_who_still_has_it(void **state)
{
	struct error err = {0};
	struct link link;
	int fd;

	need(link_open_tap("wnt1", 1, &fd, &err), &err);
	assert_int_equal(link_remove(bubble, "wnt1"), 0);
	assert_int_equal(link_get(bubble, "wnt1", &link), -ENODEV);
	assert_true(write(fd, "123456789012345678901234567890", 30) < 0);
	assert_int_equal(link_remove(bubble, "wnt1"), 0);
	close(fd);
}

static void all_that_changes_changes_at_once(void **state)
{
	const uint8_t mac[LINK_MAC_SIZE] = {0xfe, 0x57, 1, 2, 3, 4};
	const struct link_change change = {
		.up = true, .mtu = 1400, .mac = mac, .alias = "wnodes x 10.0.0.1"};
	char text[LINK_MAC_TEXT];
	struct error err = {0};
	struct link link;
	int fd;

	need(link_open_tap("wnt1", 1, &fd, &err), &err);
	link_get(bubble, "wnt1", &link);
	assert_int_equal(link_change(bubble, link.index, &change), 0);
	link_get(bubble, "wnt1", &link);
	assert_true(link.up);
	assert_int_equal(link.mtu, 1400);
	assert_string_equal(link.alias, "wnodes x 10.0.0.1");
	assert_string_equal(link_format_mac(link.mac, text), "fe:57:01:02:03:04");
	assert_int_equal(link_change(bubble, link.index, &(struct link_change){.down = true}), 0);
	link_get(bubble, "wnt1", &link);
	assert_false(link.up);
	assert_int_equal(link.mtu, 1400);
	close(fd);
}

static int note_index(const struct nlmsghdr *header, void *userdata)
{
	if (link_heard(header) == *(int *)userdata)
		*(int *)userdata = 0;
	return 0;
}

/* Who has a tap's descriptor may do this without any right. */
static void change_of_hardware_address_is_heard(void **state)
{
	struct netlink *events AUTO(netlink_freep) = NULL;
	struct ifreq request = {.ifr_hwaddr = {ARPHRD_ETHER, {2, 0, 0, 0, 0, 9}}};
	struct error err = {0};
	struct link link;
	int fd, index;

	need(link_open_tap("wnt1", 1, &fd, &err), &err);
	link_get(bubble, "wnt1", &link);
	need(netlink_watch_links(&events, &err), &err);
	index = link.index;
	assert_int_equal(netlink_hear(events, note_index, &index), 0);
	assert_int_equal(index, link.index);
	assert_int_equal(ioctl(fd, SIOCSIFHWADDR, &request), 0);
	assert_int_equal(netlink_hear(events, note_index, &index), 0);
	assert_int_equal(index, 0);
	link_get(bubble, "wnt1", &link);
	assert_memory_equal(link.mac, request.ifr_hwaddr.sa_data, LINK_MAC_SIZE);
	close(fd);
}

static int count_ours(const struct link *link, void *userdata)
{
	*(int *)userdata += strncmp(link->name, "wnt", 3) == 0;
	return 0;
}

static void group_goes_at_once(void **state)
{
	struct error err = {0};
	struct link link;
	int fds[3], count = 0;

	for (int i = 0; i < 3; i++) {
		char name[] = {'w', 'n', 't', (char)('0' + i), '\0'};

		need(link_open_tap(name, 1, &fds[i], &err), &err);
		link_get(bubble, name, &link);
		if (i > 0)
			link_change(bubble, link.index, &(struct link_change){.group = 4711});
	}
	link_each(bubble, count_ours, &count);
	assert_int_equal(count, 3);
	assert_int_equal(link_remove_group(bubble, 4711), 0);
	assert_int_equal(link_remove_group(bubble, 4711), 0);
	count = 0;
	link_each(bubble, count_ours, &count);
	assert_int_equal(count, 1);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void pair_and_tunnel_are_made(void **state)
{
	struct link_tunnel tunnel = {.key = 0xabcdef, .port = 4789};
	struct error err = {0};
	struct link link;
	struct in_addr remote;

	need(link_add_pair(bubble, "wnp0", "wnp1", &err), &err);
	assert_int_equal(link_get(bubble, "wnp1", &link), 0);
	assert_string_equal(link.kind, "veth");
	assert_int_equal(link_remove(bubble, "wnp0"), 0);
	assert_int_equal(link_get(bubble, "wnp1", &link), -ENODEV);
	inet_pton(AF_INET, "127.0.0.1", &tunnel.local);
	inet_pton(AF_INET, "127.0.0.2", &remote);
	need(link_add_tunnel(bubble, "wnx", &tunnel, &link, &err), &err);
	need(link_add_peer(bubble, link.index, NULL, remote, &err), &err);
	need(link_add_peer(bubble, link.index, NULL, remote, &err), &err);
	assert_true(link_add_tunnel(bubble, "wnx", &tunnel, &link, &err) < 0);
	assert_int_equal(link_remove(bubble, "wnx"), 0);
}

/* A kernel without bridges or VLANs says so; one with them has them. */
static void what_the_kernel_lacks_is_said(void **state)
{
	struct error err = {0};
	struct link link;
	int r = link_add_bridge(bubble, "wnb", &link, &err);

	if (r < 0) {
		assert_non_null(strstr(err.text, "cannot make the bridge 'wnb'"));
		assert_non_null(strstr(err.text, "module"));
		return;
	}
	need(link_add_bridge(bubble, "wnb", &link, &err), &err);
	assert_string_equal(link.kind, "bridge");
	assert_int_equal(link_remove(bubble, "wnb"), 0);
}

static void hardware_address_is_read_and_written(void **state)
{
	static const char *const wrong[] = {"", "52:54:00:12:34", "52:54:00:12:34:5",
		"52:54:00:12:34:5g", "5254:00:12:34:561", "52-54-00-12-34-56",
		"52:54:00:12:34:567"};
	uint8_t mac[LINK_MAC_SIZE];
	char text[LINK_MAC_TEXT];

	assert_int_equal(link_parse_mac("52:54:00:Ab:34:56", mac), 0);
	assert_string_equal(link_format_mac(mac, text), "52:54:00:ab:34:56");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(link_parse_mac(wrong[i], mac), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest anywhere[] = {
		cmocka_unit_test(hardware_address_is_read_and_written),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tap_goes_with_its_last_descriptor),
		cmocka_unit_test(tap_of_another_is_not_taken_over),
		cmocka_unit_test(removed_tap_is_of_no_use_to_who_still_has_it),
		cmocka_unit_test(all_that_changes_changes_at_once),
		cmocka_unit_test(change_of_hardware_address_is_heard),
		cmocka_unit_test(group_goes_at_once),
		cmocka_unit_test(pair_and_tunnel_are_made),
		cmocka_unit_test(what_the_kernel_lacks_is_said),
	};
	int r = cmocka_run_group_tests(anywhere, NULL, NULL);

	if (r != 0 || !bubble_enter())
		return r ? r : 77; /* skipped */
	r = cmocka_run_group_tests(tests, NULL, NULL);
	bubble = netlink_free(bubble);
	return r;
}
