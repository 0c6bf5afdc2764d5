#include "net/jobnet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <stdio.h>
#include <sys/socket.h>

#include "net/rules.h"

#define PREFIX "wnj"

/* Two tables: what the node takes, and what joins tap and tunnel. */
#define GUARD "inet wnodes-jobs"
#define JOINT "netdev wnodes-jobs"

/* Only root sends from these. */
#define FROM_FIRST 512
#define FROM_LAST  1023

/* IPv4, UDP, VXLAN and the Ethernet header inside. */
#define TUNNEL_BYTES 50

/* The least that IPv6 asks for. */
#define MTU_MIN 1280

#define SWEEP_MAX 256

/* From linux/if_link.h, which the C library's header hides. */
#define ADDRESS_BY_NOBODY 1

struct names {
	char tap[IFNAMSIZ], tunnel[IFNAMSIZ];
};

static struct names names_of(uint32_t number)
{
	struct names names;

	snprintf(names.tap, sizeof(names.tap), PREFIX "%06xt", number);
	snprintf(names.tunnel, sizeof(names.tunnel), PREFIX "%06xx", number);
	return names;
}

/* What fits through the network between here and there, as the kernel's routes say. */
static int path_mtu(struct in_addr to, uint16_t port, uint32_t *ret)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr = to, .sin_port = htons(port)};
	autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(int);
	int mtu;

	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &size) < 0)
		return -errno;
	*ret = MIN_OF(*ret, (uint32_t)mtu);
	return 0;
}

static int find_mtu(const struct jobnet *net, uint32_t *ret, struct error *err)
{
	char text[INET_ADDRSTRLEN];
	int r = 0;

	*ret = UINT16_MAX;
	for (size_t i = 0; i < net->count && r == 0; i++)
		if (i != net->self) {
			r = path_mtu(net->members[i].node, net->port, ret);
			inet_ntop(AF_INET, &net->members[i].node, text, sizeof(text));
		}
	if (r < 0)
		return fail_errno(err, r, "there is no way to the job's node %s", text);
	*ret -= TUNNEL_BYTES;
	return *ret >= MTU_MIN
		       ? 0
		       : fail(err, -EMSGSIZE,
				 "the network between the job's nodes takes frames of %u bytes",
				 *ret + TUNNEL_BYTES);
}

/* The node has no address in the job's network, not even one that it makes by itself. */
static int make_quiet(struct netlink *n, int index)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_index = index};
	struct nl_msg *message = netlink_message(RTM_NEWLINK, 0, &header, sizeof(header));
	struct nlattr *families = netlink_nest(message, IFLA_AF_SPEC | NLA_F_NESTED);
	struct nlattr *six = netlink_nest(message, AF_INET6 | NLA_F_NESTED);
	const uint8_t mode = ADDRESS_BY_NOBODY;

	netlink_put(message, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
	netlink_end_nest(message, six);
	netlink_end_nest(message, families);
	return netlink_call(n, message, NULL, NULL);
}

static int start_device(struct netlink *n, const char *name, uint32_t mtu, struct error *err)
{
	struct link link;
	int r = link_get(n, name, &link);

	if (r == 0)
		make_quiet(n, link.index); /* a kernel without IPv6 says no */
	if (r == 0)
		r = link_change(n, link.index, &(struct link_change){.up = true, .mtu = mtu});
	return r < 0 ? netlink_fail(n, r, err, "cannot start '%s'", name) : 0;
}

/* Nothing is learned: each VM has its place from the start, and what is for all goes to each. */
static int add_tunnel(
	struct netlink *n, const struct jobnet *net, const char *name, struct error *err)
{
	const struct link_tunnel tunnel = {.key = net->number,
		.port = net->port,
		.from_first = FROM_FIRST,
		.from_last = FROM_LAST};
	struct link link;
	int r = link_add_tunnel(n, name, &tunnel, &link, err);

	if (r == -EEXIST)
		return fail(err, -EBUSY,
			"the number of the job's network, %u, is another network's on this node; start "
			"the step again, which gives it another number",
			net->number);
	for (size_t i = 0; i < net->count && r == 0; i++) {
		const struct jobnet_member *m = &net->members[i];

		if (i == net->self)
			continue;
		r = link_add_peer(n, link.index, m->mac, m->node, err);
		if (r == 0)
			r = link_add_peer(n, link.index, NULL, m->node, err);
	}
	return r;
}

/* What may come in for this number. The chain of all numbers is written anew each time, so that no
 * half of it can be missing. */
static void add_guard(struct rules *r, const struct jobnet *net)
{
	char text[INET_ADDRSTRLEN];

	rules_add(r, "add table " GUARD "\n");
	rules_add(r, "add map " GUARD " numbers { typeof @th,96,24 : verdict; }\n");
	rules_add(r, "add chain " GUARD " input { type filter hook input priority -10; }\n");
	rules_add(r, "flush chain " GUARD " input\n");
	rules_add(r, "add rule " GUARD " input udp dport %u @th,96,24 vmap @numbers\n", net->port);
	rules_add(r, "add rule " GUARD " input udp dport %u drop\n", net->port);
	rules_add(r, "add chain " GUARD " n%06x\nflush chain " GUARD " n%06x\n", net->number,
		net->number);
	rules_add(r, "add rule " GUARD " n%06x udp sport %u-%u ip saddr { ", net->number,
		FROM_FIRST, FROM_LAST);
	for (size_t i = 0; i < net->count; i++) {
		inet_ntop(AF_INET, &net->members[i].node, text, sizeof(text));
		rules_add(r, "%s%s", i ? ", " : "", text);
	}
	rules_add(r, " } accept\n");
	rules_add(r, "add rule " GUARD " n%06x drop\n", net->number);
	rules_add(r, "add element " GUARD " numbers { 0x%06x : jump n%06x }\n", net->number,
		net->number);
}

/* The VM's frames, with its own address as their sender, into the tunnel, and back. */
static void add_joint(struct rules *r, const struct jobnet *net, const struct names *names)
{
	char mac[LINK_MAC_TEXT];

	link_format_mac(net->members[net->self].mac, mac);
	rules_add(r, "add table " JOINT "\n");
	rules_add(r,
		"add chain " JOINT
		" %s { type filter hook ingress device \"%s\" priority 0; policy drop; }\n",
		names->tap, names->tap);
	rules_add(r, "flush chain " JOINT " %s\n", names->tap);
	rules_add(r, "add rule " JOINT " %s ether saddr %s fwd to \"%s\"\n", names->tap, mac,
		names->tunnel);
	rules_add(r,
		"add chain " JOINT
		" %s { type filter hook ingress device \"%s\" priority 0; policy drop; }\n",
		names->tunnel, names->tunnel);
	rules_add(r, "flush chain " JOINT " %s\n", names->tunnel);
	rules_add(r, "add rule " JOINT " %s fwd to \"%s\"\n", names->tunnel, names->tap);
}

static int add_rules(const struct jobnet *net, const struct names *names, struct error *err)
{
	struct rules rules = {0};

	add_guard(&rules, net);
	add_joint(&rules, net, names);
	return rules_run(&rules, "of a job's network", err);
}

int jobnet_open(struct netlink *n, const struct jobnet *net, int *ret_tap_fd, uint32_t *ret_mtu,
	struct error *err)
{
	const struct names names = names_of(net->number);
	autoclose int tap = -1;
	struct error unused = {0};
	int r = find_mtu(net, ret_mtu, err);

	if (r == 0)
		r = add_tunnel(n, net, names.tunnel, err);
	if (r == -EBUSY || r == -EMSGSIZE)
		return r;
	if (r == 0)
		r = link_open_tap(names.tap, 1, &tap, err);
	/* Before anything can pass. */
	if (r == 0)
		r = add_rules(net, &names, err);
	if (r == 0)
		r = start_device(n, names.tap, *ret_mtu, err);
	if (r == 0)
		r = start_device(n, names.tunnel, *ret_mtu, err);
	if (r < 0) {
		jobnet_close(n, net->number, &unused);
		return r;
	}
	*ret_tap_fd = TAKE_FD(tap);
	return 0;
}

/* Adding what is there changes nothing, and what is not there can be deleted then. */
static void delete_rules(struct rules *r, uint32_t number)
{
	const struct names names = names_of(number);

	rules_add(r, "add table " GUARD "\nadd table " JOINT "\n");
	rules_add(r, "add map " GUARD " numbers { typeof @th,96,24 : verdict; }\n");
	rules_add(r, "add chain " GUARD " n%06x\n", number);
	rules_add(r, "add element " GUARD " numbers { 0x%06x : jump n%06x }\n", number, number);
	rules_add(r, "delete element " GUARD " numbers { 0x%06x }\n", number);
	rules_add(r, "flush chain " GUARD " n%06x\ndelete chain " GUARD " n%06x\n", number, number);
	rules_add(r, "add chain " JOINT " %s\ndelete chain " JOINT " %s\n", names.tap, names.tap);
	rules_add(r, "add chain " JOINT " %s\ndelete chain " JOINT " %s\n", names.tunnel,
		names.tunnel);
}

/* The devices first: then nothing passes any more. */
int jobnet_close(struct netlink *n, uint32_t number, struct error *err)
{
	const struct names names = names_of(number);
	struct rules rules = {0};
	int r = link_remove(n, names.tunnel);

	link_remove(n, names.tap);
	if (r < 0)
		return netlink_fail(n, r, err, "cannot remove '%s'", names.tunnel);
	delete_rules(&rules, number);
	return rules_run(&rules, "of a job's network", err);
}

struct sweep {
	uint32_t numbers[SWEEP_MAX];
	size_t count;
};

static int on_link(const struct link *link, void *userdata)
{
	struct sweep *s = userdata;
	unsigned int number;
	char last;

	if (sscanf(link->name, PREFIX "%06x%c", &number, &last) == 2 && last == 'x' &&
		streq(link->kind, "vxlan") && s->count < SWEEP_MAX)
		s->numbers[s->count++] = number;
	return 0;
}

int jobnet_sweep(struct netlink *n, struct error *err)
{
	struct sweep s = {.count = 0};
	int swept = 0, r = link_each(n, on_link, &s);

	if (r < 0)
		return netlink_fail(n, r, err, "cannot list the node's network devices");
	for (size_t i = 0; i < s.count; i++) {
		const struct names names = names_of(s.numbers[i]);

		if (if_nametoindex(names.tap) > 0)
			continue;
		r = jobnet_close(n, s.numbers[i], err);
		if (r < 0)
			return r;
		swept++;
	}
	return swept;
}
