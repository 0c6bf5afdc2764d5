#include "net/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <netlink/attr.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define TUN_DEVICE "/dev/net/tun"

static struct nl_msg *link_message(int type, int flags, int index)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_index = index};

	return netlink_message(type, flags, &header, sizeof(header));
}

static void take_counters(struct link *link, struct nlattr *attribute)
{
	struct rtnl_link_stats64 counters = {0};

	if (!attribute)
		return;
	memcpy(&counters, nla_data(attribute),
		MIN_OF(sizeof(counters), (size_t)nla_len(attribute)));
	link->received_bytes = counters.rx_bytes;
	link->sent_bytes = counters.tx_bytes;
}

static void take_kind(struct link *link, struct nlattr *attribute)
{
	struct nlattr *table[IFLA_INFO_MAX + 1];

	if (attribute && nla_parse_nested(table, IFLA_INFO_MAX, attribute, NULL) == 0 &&
		table[IFLA_INFO_KIND])
		nla_strlcpy(link->kind, table[IFLA_INFO_KIND], sizeof(link->kind));
}

static int link_take(const struct nlmsghdr *header, struct link *link)
{
	const struct ifinfomsg *info = nlmsg_data(header);
	struct nlattr *table[IFLA_MAX + 1];

	*link = (struct link){0};
	if (header->nlmsg_type != RTM_NEWLINK ||
		nlmsg_parse((struct nlmsghdr *)(uintptr_t)header, sizeof(*info), table, IFLA_MAX,
			NULL) < 0 ||
		!table[IFLA_IFNAME])
		return -EPROTO;
	link->index = info->ifi_index;
	link->up = info->ifi_flags & IFF_UP;
	nla_strlcpy(link->name, table[IFLA_IFNAME], sizeof(link->name));
	if (table[IFLA_IFALIAS])
		nla_strlcpy(link->alias, table[IFLA_IFALIAS], sizeof(link->alias));
	if (table[IFLA_ADDRESS] && nla_len(table[IFLA_ADDRESS]) == LINK_MAC_SIZE)
		memcpy(link->mac, nla_data(table[IFLA_ADDRESS]), LINK_MAC_SIZE);
	link->mtu = table[IFLA_MTU] ? nla_get_u32(table[IFLA_MTU]) : 0;
	link->master = table[IFLA_MASTER] ? (int)nla_get_u32(table[IFLA_MASTER]) : 0;
	take_kind(link, table[IFLA_LINKINFO]);
	take_counters(link, table[IFLA_STATS64]);
	return 0;
}

static int on_link(const struct nlmsghdr *header, void *userdata)
{
	return link_take(header, userdata);
}

int link_get(struct netlink *n, const char *name, struct link *ret)
{
	struct nl_msg *message = link_message(RTM_GETLINK, 0, 0);

	*ret = (struct link){0};
	netlink_put_text(message, IFLA_IFNAME, name);
	return netlink_call(n, message, on_link, ret);
}

struct visit {
	link_fn each;
	void *userdata;
};

static int on_each(const struct nlmsghdr *header, void *userdata)
{
	const struct visit *visit = userdata;
	struct link link;

	return link_take(header, &link) == 0 ? visit->each(&link, visit->userdata) : 0;
}

int link_each(struct netlink *n, link_fn each, void *userdata)
{
	struct visit visit = {each, userdata};

	return netlink_call(n, link_message(RTM_GETLINK, NLM_F_DUMP, 0), on_each, &visit);
}

int link_heard(const struct nlmsghdr *header)
{
	const struct ifinfomsg *info = nlmsg_data(header);

	return header->nlmsg_type == RTM_NEWLINK && nlmsg_datalen(header) >= (int)sizeof(*info)
		       ? info->ifi_index
		       : -EPROTO;
}

static int open_queue(const char *name, int flags, int *ret)
{
	struct ifreq r = {.ifr_flags = (short)flags};
	autoclose int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &r) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

int link_open_tap(const char *name, size_t queues, int *ret_fds, struct error *err)
{
	/* EXCL: only the first queue makes the device, and one that is there is another's. */
	int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0), r = 0;
	size_t i = 0;

	for (; i < queues && r == 0; i++)
		r = open_queue(name, i == 0 ? flags | IFF_TUN_EXCL : flags, &ret_fds[i]);
	if (r == 0)
		return 0;
	for (i--; i > 0; i--)
		ret_fds[i - 1] = base_close(ret_fds[i - 1]);
	return fail_errno(err, r, "cannot make the tap '%s' by '%s'", name, TUN_DEVICE);
}

/* Ends a message about a new device, whose attributes of its kind `fill` adds. */
static int link_add(struct netlink *n, const char *name, const char *kind, int lower,
	void (*fill)(struct nl_msg *message, const void *what), const void *what)
{
	struct nl_msg *message = link_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	struct nlattr *info, *data;

	netlink_put_text(message, IFLA_IFNAME, name);
	if (lower)
		netlink_put_u32(message, IFLA_LINK, (uint32_t)lower);
	info = netlink_nest(message, IFLA_LINKINFO);
	netlink_put_text(message, IFLA_INFO_KIND, kind);
	data = netlink_nest(message, IFLA_INFO_DATA);
	fill(message, what);
	netlink_end_nest(message, data);
	netlink_end_nest(message, info);
	return netlink_call(n, message, NULL, NULL);
}

/* One that was there must be what is wanted. */
static int link_find_made(struct netlink *n, int r, const char *name, const char *kind,
	struct link *ret, struct error *err)
{
	if (r < 0 && r != -EEXIST)
		return netlink_fail(n, r, err,
			"cannot make the %s '%s'; does the kernel have the module for it?", kind,
			name);
	r = link_get(n, name, ret);
	if (r < 0)
		return netlink_fail(n, r, err, "cannot find '%s'", name);
	return streq(ret->kind, kind)
		       ? 0
		       : fail(err, -EEXIST, "'%s' is there, but is no %s; remove it", name, kind);
}

static void fill_bridge(struct nl_msg *message, const void *what)
{
	netlink_put_u32(message, IFLA_BR_STP_STATE, 0);
	netlink_put_u32(message, IFLA_BR_FORWARD_DELAY, 0);
}

int link_add_bridge(struct netlink *n, const char *name, struct link *ret, struct error *err)
{
	int r = link_add(n, name, "bridge", 0, fill_bridge, NULL);

	return link_find_made(n, r, name, "bridge", ret, err);
}

static void fill_vlan(struct nl_msg *message, const void *what)
{
	const uint16_t *vlan = what;

	netlink_put(message, IFLA_VLAN_ID, vlan, sizeof(*vlan));
}

int link_add_vlan(struct netlink *n, const char *name, int lower, uint16_t vlan, struct link *ret,
	struct error *err)
{
	int r = link_add(n, name, "vlan", lower, fill_vlan, &vlan);

	return link_find_made(n, r, name, "vlan", ret, err);
}

static void fill_tunnel(struct nl_msg *message, const void *what)
{
	const struct link_tunnel *t = what;
	const uint16_t port = htons(t->port);
	const struct ifla_vxlan_port_range range = {htons(t->from_first), htons(t->from_last)};
	const uint8_t learning = t->learning, yes = 1;

	netlink_put_u32(message, IFLA_VXLAN_ID, t->key);
	netlink_put(message, IFLA_VXLAN_LOCAL, &t->local, sizeof(t->local));
	netlink_put(message, IFLA_VXLAN_PORT, &port, sizeof(port));
	netlink_put(message, IFLA_VXLAN_LEARNING, &learning, sizeof(learning));
	netlink_put(message, IFLA_VXLAN_UDP_CSUM, &yes, sizeof(yes));
	if (t->from_last)
		netlink_put(message, IFLA_VXLAN_PORT_RANGE, &range, sizeof(range));
	if (t->lower)
		netlink_put_u32(message, IFLA_VXLAN_LINK, (uint32_t)t->lower);
}

int link_add_tunnel(struct netlink *n, const char *name, const struct link_tunnel *tunnel,
	struct link *ret, struct error *err)
{
	int r = link_add(n, name, "vxlan", 0, fill_tunnel, tunnel);

	if (r < 0)
		return netlink_fail(n, r, err, "cannot make the tunnel '%s'", name);
	return link_find_made(n, r, name, "vxlan", ret, err);
}

int link_add_peer(
	struct netlink *n, int index, const uint8_t *mac, struct in_addr remote, struct error *err)
{
	static const uint8_t all[LINK_MAC_SIZE];
	const struct ndmsg header = {.ndm_family = AF_BRIDGE,
		.ndm_ifindex = index,
		.ndm_state = NUD_NOARP | NUD_PERMANENT,
		.ndm_flags = NTF_SELF};
	struct nl_msg *message =
		netlink_message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, &header, sizeof(header));
	int r;

	netlink_put(message, NDA_LLADDR, mac ? mac : all, LINK_MAC_SIZE);
	netlink_put(message, NDA_DST, &remote, sizeof(remote));
	r = netlink_call(n, message, NULL, NULL);
	return r < 0 && r != -EEXIST ? netlink_fail(n, r, err, "cannot add a peer to a tunnel") : 0;
}

static void fill_pair(struct nl_msg *message, const void *what)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	struct nlattr *peer = netlink_nest(message, VETH_INFO_PEER);

	if (nlmsg_append(message, (void *)(uintptr_t)&header, sizeof(header), 0) < 0)
		abort();
	netlink_put_text(message, IFLA_IFNAME, what);
	netlink_end_nest(message, peer);
}

int link_add_pair(struct netlink *n, const char *name, const char *peer, struct error *err)
{
	int r = link_add(n, name, "veth", 0, fill_pair, peer);

	return r < 0 ? netlink_fail(n, r, err, "cannot make the pair '%s', '%s'", name, peer) : 0;
}

int link_change(struct netlink *n, int index, const struct link_change *change)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC,
		.ifi_index = index,
		.ifi_change = change->up || change->down ? IFF_UP : 0,
		.ifi_flags = change->up ? IFF_UP : 0};
	struct nl_msg *message = netlink_message(RTM_NEWLINK, 0, &header, sizeof(header));

	if (change->mtu)
		netlink_put_u32(message, IFLA_MTU, change->mtu);
	if (change->mac)
		netlink_put(message, IFLA_ADDRESS, change->mac, LINK_MAC_SIZE);
	if (change->alias && change->alias[0])
		netlink_put_text(message, IFLA_IFALIAS, change->alias);
	if (change->master || change->no_master)
		netlink_put_u32(message, IFLA_MASTER, (uint32_t)change->master);
	if (change->group)
		netlink_put_u32(message, IFLA_GROUP, change->group);
	return netlink_call(n, message, NULL, NULL);
}

/* The kernel's number for what is not tagged is 1 until another one is given. */
#define VLAN_USUAL 1

static int port_set_vlan(struct netlink *n, int index, int type, uint16_t vlan, uint16_t flags)
{
	const struct ifinfomsg header = {.ifi_family = AF_BRIDGE, .ifi_index = index};
	const struct bridge_vlan_info info = {.vid = vlan, .flags = flags};
	struct nl_msg *message = netlink_message(type, 0, &header, sizeof(header));
	struct nlattr *spec = netlink_nest(message, IFLA_AF_SPEC);

	netlink_put(message, IFLA_BRIDGE_VLAN_INFO, &info, sizeof(info));
	netlink_end_nest(message, spec);
	return netlink_call(n, message, NULL, NULL);
}

int link_set_port(struct netlink *n, int index, const struct link_port *port)
{
	const struct ifinfomsg header = {.ifi_family = AF_BRIDGE, .ifi_index = index};
	struct nl_msg *message = netlink_message(RTM_SETLINK, 0, &header, sizeof(header));
	struct nlattr *info = netlink_nest(message, IFLA_PROTINFO | NLA_F_NESTED);
	const uint8_t isolated = port->isolated, yes = 1;
	int r;

	netlink_put(message, IFLA_BRPORT_ISOLATED, &isolated, sizeof(isolated));
	/* Whoever speaks spanning tree here is cut off, instead of moving the network's root. */
	netlink_put(message, IFLA_BRPORT_GUARD, &yes, sizeof(yes));
	netlink_end_nest(message, info);
	r = netlink_call(n, message, NULL, NULL);
	if (r < 0 || port->vlan == 0)
		return r;
	r = port_set_vlan(n, index, RTM_SETLINK, port->vlan,
		BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED);
	if (r == 0 && port->vlan != VLAN_USUAL)
		port_set_vlan(n, index, RTM_DELLINK, VLAN_USUAL, 0);
	return r;
}

int link_add_address(struct netlink *n, int index, int family, const void *address, uint8_t prefix)
{
	const struct ifaddrmsg header = {.ifa_family = (uint8_t)family,
		.ifa_prefixlen = prefix,
		.ifa_index = (uint32_t)index};
	size_t size = family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);
	struct nl_msg *message =
		netlink_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(header));
	int r;

	netlink_put(message, IFA_LOCAL, address, size);
	netlink_put(message, IFA_ADDRESS, address, size);
	r = netlink_call(n, message, NULL, NULL);
	return r == -EEXIST ? 0 : r;
}

int link_remove(struct netlink *n, const char *name)
{
	struct nl_msg *message = link_message(RTM_DELLINK, 0, 0);
	int r;

	netlink_put_text(message, IFLA_IFNAME, name);
	r = netlink_call(n, message, NULL, NULL);
	return r == -ENODEV ? 0 : r;
}

int link_remove_group(struct netlink *n, uint32_t group)
{
	struct nl_msg *message = link_message(RTM_DELLINK, 0, 0);
	int r;

	netlink_put_u32(message, IFLA_GROUP, group);
	r = netlink_call(n, message, NULL, NULL);
	return r == -ENODEV ? 0 : r;
}

int link_parse_mac(const char *text, uint8_t ret[LINK_MAC_SIZE])
{
	int end = 0;

	if (strlen(text) != LINK_MAC_TEXT - 1 || text[strspn(text, "0123456789abcdefABCDEF:")])
		return -EINVAL;
	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &ret[0], &ret[1], &ret[2],
		    &ret[3], &ret[4], &ret[5], &end) != LINK_MAC_SIZE ||
		text[end])
		return -EINVAL;
	return 0;
}

const char *link_format_mac(const uint8_t mac[LINK_MAC_SIZE], char ret[LINK_MAC_TEXT])
{
	snprintf(ret, LINK_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		mac[3], mac[4], mac[5]);
	return ret;
}
