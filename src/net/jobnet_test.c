/* Networks of jobs between two nodes, which are network namespaces with a cable between them: what
 * a VM sends arrives at its job's VM and at no other, and nobody else gets anything in. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "net/bubble_test.h"
#include "net/jobnet.h"

#include <cmocka.h>

#define NETWORKS 50
#define PORT     4789

/* Before each frame of a tap, struct virtio_net_hdr. */
#define HEADER 10
#define FRAME  (HEADER + 60)

struct node {
	struct netlink *netlink;
	int namespace_fd;
};

static struct node nodes[2];
static bool ready;

static void enter(int node)
{
	assert_int_equal(setns(nodes[node].namespace_fd, CLONE_NEWNET), 0);
}

static void keep_node(int node, struct netlink *n)
{
	nodes[node] = (struct node){n, open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)};
	assert_true(nodes[node].namespace_fd >= 0);
}

static void set_up_card(int node, const char *name)
{
	struct in_addr address = {htonl(0x0a630001 + (uint32_t)node)}; /* 10.99.0.1, .2 */
	struct link link;

	assert_int_equal(link_get(nodes[node].netlink, name, &link), 0);
	assert_int_equal(
		link_add_address(nodes[node].netlink, link.index, AF_INET, &address, 24), 0);
	assert_int_equal(
		link_change(nodes[node].netlink, link.index, &(struct link_change){.up = true}), 0);
}

/* The second end of the cable goes to the second node. */
static int move(const char *name)
{
	struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	const uint32_t fd = (uint32_t)nodes[1].namespace_fd;
	struct nl_msg *message;
	struct link link;

	assert_int_equal(link_get(nodes[0].netlink, name, &link), 0);
	header.ifi_index = link.index;
	message = netlink_message(RTM_NEWLINK, 0, &header, sizeof(header));
	netlink_put(message, IFLA_NET_NS_FD, &fd, sizeof(fd));
	return netlink_call(nodes[0].netlink, message, NULL, NULL);
}

static int group_setup(void **state)
{
	struct netlink *second = NULL;
	struct error err = {0};
	int r;

	if (!bubble_enter() || access("/usr/sbin/nft", X_OK) < 0)
		return 0;
	keep_node(0, bubble);
	if (unshare(CLONE_NEWNET) < 0 || netlink_open(&second, &err) < 0)
		return 0;
	keep_node(1, second);
	enter(0);
	assert_int_equal(link_add_pair(nodes[0].netlink, "cable0", "cable1", &err), 0);
	assert_int_equal(move("cable1"), 0);
	set_up_card(0, "cable0");
	set_up_card(1, "cable1");
	/* Not all kernels have VXLAN. */
	r = link_add_tunnel(nodes[0].netlink, "probe", &(struct link_tunnel){.key = 1, .port = 1},
		&(struct link){0}, &err);
	link_remove(nodes[0].netlink, "probe");
	ready = r == 0;
	return 0;
}

static void need_nodes(void)
{
	if (!ready)
		skip();
}

static void fill_members(struct jobnet_member members[2])
{
	for (uint32_t i = 0; i < 2; i++)
		members[i] = (struct jobnet_member){
			{htonl(0x0a630001 + i)}, {0x52, 0x54, 0xd2, 0, 0, (uint8_t)(i + 1)}};
}

static int try_open(int node, uint32_t number, int *ret_fd, struct error *err)
{
	struct jobnet_member members[2];
	const struct jobnet net = {number, PORT, members, 2, (size_t)node};
	uint32_t mtu = 0;
	int r;

	fill_members(members);
	enter(node);
	r = jobnet_open(nodes[node].netlink, &net, ret_fd, &mtu, err);
	if (r == 0)
		assert_int_equal(mtu, 1450);
	return r;
}

static int open_net(int node, uint32_t number)
{
	struct error err = {0};
	int fd = -1;

	if (try_open(node, number, &fd, &err) < 0)
		fail_msg("%s", err.text);
	return fd;
}

static void close_net(int node, uint32_t number, int fd)
{
	struct error err = {0};

	close(fd);
	enter(node);
	assert_int_equal(jobnet_close(nodes[node].netlink, number, &err), 0);
}

/* A frame from the VM on `node` to the other one, or to all, that says `text`. */
static void send_frame(int fd, int node, bool to_all, const char *text)
{
	struct jobnet_member members[2];
	uint8_t frame[FRAME] = {0};

	fill_members(members);
	if (to_all)
		memset(frame + HEADER, 0xff, LINK_MAC_SIZE);
	else
		memcpy(frame + HEADER, members[1 - node].mac, LINK_MAC_SIZE);
	memcpy(frame + HEADER + LINK_MAC_SIZE, members[node].mac, LINK_MAC_SIZE);
	frame[HEADER + 12] = 0x88; /* a type for experiments */
	frame[HEADER + 13] = 0xb5;
	snprintf((char *)frame + HEADER + 14, FRAME - HEADER - 14, "%s", text);
	assert_int_equal(write(fd, frame, sizeof(frame)), sizeof(frame));
}

/* The text of the next frame of ours; "" if there is none within `ms`. */
static const char *next_text(int fd, int ms)
{
	static uint8_t frame[2048];
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	memset(frame, 0, sizeof(frame));
	while (poll(&p, 1, ms) > 0 && (n = read(fd, frame, sizeof(frame) - 1)) > 0)
		if (n > HEADER + 14 && frame[HEADER + 12] == 0x88 && frame[HEADER + 13] == 0xb5)
			return (const char *)frame + HEADER + 14;
	return "";
}

static size_t count_devices(int node);

static int on_device(const struct link *link, void *userdata)
{
	*(size_t *)userdata += str_after(link->name, "wnj") != NULL;
	return 0;
}

static size_t count_devices(int node)
{
	size_t n = 0;

	assert_int_equal(link_each(nodes[node].netlink, on_device, &n), 0);
	return n;
}

static void vms_of_a_job_reach_each_other_and_nothing_is_left(void **state)
{
	int a, b;

	need_nodes();
	a = open_net(0, 7);
	b = open_net(1, 7);
	send_frame(a, 0, false, "there");
	assert_string_equal(next_text(b, 2000), "there");
	send_frame(b, 1, true, "back, to all");
	assert_string_equal(next_text(a, 2000), "back, to all");
	close_net(0, 7, a);
	close_net(1, 7, b);
	assert_int_equal(count_devices(0) + count_devices(1), 0);
}

static void fifty_networks_at_once_do_not_hear_each_other(void **state)
{
	int fds[2][NETWORKS];
	char text[32];

	need_nodes();
	for (uint32_t i = 0; i < NETWORKS; i++)
		for (int node = 0; node < 2; node++)
			fds[node][i] = open_net(node, 1000 + i);
	for (uint32_t i = 0; i < NETWORKS; i++) {
		snprintf(text, sizeof(text), "network %u", i);
		send_frame(fds[i % 2][i], (int)(i % 2), i % 4 < 2, text);
	}
	for (uint32_t i = 0; i < NETWORKS; i++) {
		snprintf(text, sizeof(text), "network %u", i);
		assert_string_equal(next_text(fds[1 - i % 2][i], 2000), text);
	}
	for (uint32_t i = 0; i < NETWORKS; i++)
		for (int node = 0; node < 2; node++) {
			assert_string_equal(next_text(fds[node][i], i ? 0 : 100), "");
			close_net(node, 1000 + i, fds[node][i]);
		}
	assert_int_equal(count_devices(0) + count_devices(1), 0);
}

static void number_of_another_network_is_refused(void **state)
{
	struct error err = {0};
	int a, other = -1;

	need_nodes();
	a = open_net(0, 9);
	assert_int_equal(try_open(0, 9, &other, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another network's"));
	assert_int_equal(count_devices(0), 2);
	close_net(0, 9, a);
}

static void vm_that_sends_as_another_is_not_heard(void **state)
{
	int a, b;

	need_nodes();
	a = open_net(0, 8);
	b = open_net(1, 8);
	send_frame(a, 1, true, "as the other");
	assert_string_equal(next_text(b, 100), "");
	close_net(0, 8, a);
	close_net(1, 8, b);
}

/* What somebody else puts into a tunnel, from a port of the first node's. */
static void inject(uint16_t from, uint32_t source, uint32_t number)
{
	uint8_t packet[8 + 60] = {
		0x08, 0, 0, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number, 0};
	struct sockaddr_in own = {
		.sin_family = AF_INET, .sin_port = htons(from), .sin_addr = {htonl(source)}};
	const struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(0x0a630002)}};
	autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memset(packet + 8, 0xff, LINK_MAC_SIZE);
	packet[8 + 6] = 0x02;
	packet[8 + 12] = 0x88;
	packet[8 + 13] = 0xb5;
	snprintf((char *)packet + 8 + 14, 40, "injected");
	assert_int_equal(bind(fd, (const struct sockaddr *)&own, sizeof(own)), 0);
	assert_int_equal(
		sendto(fd, packet, sizeof(packet), 0, (const struct sockaddr *)&to, sizeof(to)),
		sizeof(packet));
}

static void nobody_else_gets_anything_into_a_network(void **state)
{
	struct in_addr stranger = {htonl(0x0a630009)};
	struct link link;
	int a, b;

	need_nodes();
	a = open_net(0, 11);
	b = open_net(1, 11);
	enter(0);
	assert_int_equal(link_get(nodes[0].netlink, "cable0", &link), 0);
	assert_int_equal(link_add_address(nodes[0].netlink, link.index, AF_INET, &stranger, 24), 0);
	/* A user of a node; root of a node that the job is not on; another number. */
	inject(1024, 0x0a630001, 11);
	inject(40000, 0x0a630001, 11);
	inject(900, 0x0a630009, 11);
	inject(900, 0x0a630001, 12);
	assert_string_equal(next_text(b, 200), "");
	/* The same from where the other end of the tunnel is arrives, so that the above says
	 * something. */
	inject(900, 0x0a630001, 11);
	assert_string_equal(next_text(b, 2000), "injected");
	close_net(0, 11, a);
	close_net(1, 11, b);
}

static void what_a_dead_vm_left_is_swept(void **state)
{
	struct error err = {0};
	int a, b;

	need_nodes();
	a = open_net(0, 20);
	b = open_net(0, 21);
	assert_int_equal(jobnet_sweep(nodes[0].netlink, &err), 0);
	close(b);
	assert_int_equal(count_devices(0), 3);
	enter(0);
	assert_int_equal(jobnet_sweep(nodes[0].netlink, &err), 1);
	assert_int_equal(count_devices(0), 2);
	close_net(0, 20, a);
	assert_int_equal(count_devices(0), 0);
	/* What is not there is closed, too. */
	assert_int_equal(jobnet_close(nodes[0].netlink, 20, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vms_of_a_job_reach_each_other_and_nothing_is_left),
		cmocka_unit_test(fifty_networks_at_once_do_not_hear_each_other),
		cmocka_unit_test(number_of_another_network_is_refused),
		cmocka_unit_test(vm_that_sends_as_another_is_not_heard),
		cmocka_unit_test(nobody_else_gets_anything_into_a_network),
		cmocka_unit_test(what_a_dead_vm_left_is_swept),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
