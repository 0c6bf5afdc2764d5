#include "engine/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "engine/site_file.h"
#include "lib/parse.h"
#include "vm/tap.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

#define ADDRESSES_OF_LEASES "lease"

/* Addresses of one network: enough for a node, and looked through for each VM. */
#define RANGE_MAX 65536

/* A jumbo frame, and the least that IPv6 needs. */
#define MTU_MIN 1280
#define MTU_MAX 65535

static int check_address(const char *text, struct error *err)
{
	struct in6_addr unused;

	if (inet_pton(AF_INET, text, &unused) == 1 || inet_pton(AF_INET6, text, &unused) == 1)
		return 0;
	return fail(err, -EINVAL, "'%s' is no address", text);
}

static int check_ipv4(const char *text, struct error *err)
{
	struct in_addr unused;

	return inet_pton(AF_INET, text, &unused) == 1
		       ? 0
		       : fail(err, -EINVAL, "'%s' is no IPv4 address", text);
}

static int check_ipv6(const char *text, struct error *err)
{
	struct in6_addr unused;

	return inet_pton(AF_INET6, text, &unused) == 1
		       ? 0
		       : fail(err, -EINVAL, "'%s' is no IPv6 address", text);
}

int network_parse_prefix(
	const char *text, struct in6_addr *ret_address, uint8_t *ret_prefix, struct error *err)
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN] = "";
	uint64_t prefix = 0;
	int family;

	if (slash && (size_t)(slash - text) < sizeof(address))
		memcpy(address, text, (size_t)(slash - text));
	family = strchr(address, ':') ? AF_INET6 : AF_INET;
	if (!slash || inet_pton(family, address, ret_address) != 1 ||
		parse_number(slash + 1, 0, family == AF_INET ? 32 : 128, &prefix, NULL) < 0)
		return fail(err, -EINVAL,
			"'%s' is no network; write ADDRESS/BITS, for example 10.0.0.0/8", text);
	*ret_prefix = (uint8_t)prefix;
	return family;
}

static int check_prefix(const char *text, struct error *err)
{
	struct in6_addr address;
	uint8_t prefix;

	return MIN_OF(network_parse_prefix(text, &address, &prefix, err), 0);
}

static int check_prefix6(const char *text, struct error *err)
{
	struct in6_addr address;
	uint8_t prefix;
	int r = network_parse_prefix(text, &address, &prefix, err);

	if (r < 0)
		return r;
	return r == AF_INET6 && prefix == 64
		       ? 0
		       : fail(err, -EINVAL, "'%s' is no IPv6 network of 64 bits", text);
}

static int parse_range(const char *text, struct network_range *ret)
{
	char copy[2 * INET_ADDRSTRLEN + 8], *dash, *slash;
	struct in_addr first, last;
	uint64_t prefix;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	snprintf(copy, sizeof(copy), "%s", text);
	dash = strchr(copy, '-');
	slash = strchr(copy, '/');
	if (!dash || !slash || slash < dash)
		return -EINVAL;
	*dash = *slash = '\0';
	if (inet_pton(AF_INET, copy, &first) != 1 || inet_pton(AF_INET, dash + 1, &last) != 1 ||
		parse_number(slash + 1, 8, 30, &prefix, NULL) < 0)
		return -EINVAL;
	*ret = (struct network_range){ntohl(first.s_addr), ntohl(last.s_addr), (uint8_t)prefix};
	if (ret->last < ret->first || ret->last - ret->first >= RANGE_MAX ||
		(ret->first ^ ret->last) >> (32 - ret->prefix) != 0)
		return -EINVAL;
	return 0;
}

static int check_addresses(const char *text, struct error *err)
{
	struct network_range unused;

	if (streq(text, ADDRESSES_OF_LEASES) || parse_range(text, &unused) == 0)
		return 0;
	return fail(err, -EINVAL,
		"'%s' is neither lease nor a range of one network; write for example "
		"10.1.0.10-10.1.0.99/24",
		text);
}

static bool parse_vlans(const char *text, uint64_t *ret_first, uint64_t *ret_last)
{
	const char *dash = strchr(text, '-');
	char first[8] = "";

	if (!dash) {
		*ret_last = 0;
		if (parse_number(text, 1, 4094, ret_first, NULL) < 0)
			return false;
		*ret_last = *ret_first;
		return true;
	}
	if ((size_t)(dash - text) >= sizeof(first))
		return false;
	memcpy(first, text, (size_t)(dash - text));
	return parse_number(first, 1, 4094, ret_first, NULL) == 0 &&
	       parse_number(dash + 1, 1, 4094, ret_last, NULL) == 0;
}

bool network_has_vlan(const char *const *list, uint64_t vlan)
{
	uint64_t first, last;

	if (!list || !*list)
		return true;
	for (; *list; list++)
		if (parse_vlans(*list, &first, &last) && vlan >= first && vlan <= last)
			return true;
	return false;
}

int network_check_name(const char *text, struct error *err)
{
	if (text[0] && text[strspn(text, LETTERS "._-")] == '\0' && strchr(LETTERS, text[0]) &&
		strlen(text) < NETWORK_NAME_MAX)
		return 0;
	return fail(err, -EINVAL,
		"'%s' is no network: there are none, user, and the node's own, whose names have at most "
		"%d letters, digits, '.', '_' and '-'",
		text, NETWORK_NAME_MAX - 1);
}

#define ROW(key, type, member, ...)                                                        \
	{                                                                                  \
		"network", key, CONF_##type, offsetof(struct network, member), __VA_ARGS__ \
	}

static const struct conf_setting network_table[] = {
	ROW("bridge", STRING, bridge,
		.help = "Bridge of the node, which its administrator has made, that VMs become ports "
			"of."),
	ROW("uplink", STRING, uplink,
		.help = "Card of the node by which the network, a VLAN, is reached; the bridge for it, "
			"wn-NAME, is made. With neither of both, the bridge has no way out."),
	ROW("vlan", NUMBER, vlan, .default_value = "0", .min = 0, .max = 4094,
		.help = "Number of the VLAN; 0: none. On a bridge of the administrator's it is the "
			"number that the bridge, which must filter VLANs, has VMs' frames in."),
	ROW("class", CHOICE, class_word, .default_value = "open", .choices = "open|closed",
		.help = "What VMs reach: open (all), or closed (not the networks of the site, "
			"site_networks, but for the name servers)."),
	ROW("site_networks", WORDS, site_networks,
		.help = "Networks of the site, as 10.0.0.0/8, that a closed network does not reach, and "
			"that do not reach it."),
	ROW("addresses", STRING, addresses, .default_value = ADDRESSES_OF_LEASES,
		.help = "Addresses of VMs: lease (what the site lends the node, [site] pool), or a range "
			"for this node alone, as 10.1.0.10-10.1.0.99/24.",
		.check = check_addresses),
	ROW("gateway", STRING, gateway, .help = "Gateway of VMs; that of the lease when not set.",
		.check = check_ipv4),
	ROW("nameservers", WORDS, nameservers,
		.help = "Name servers of VMs; those of the lease when not set."),
	ROW("node_address", STRING, node_address,
		.help = "Address of the node itself on a bridge that is made for it, as 10.1.0.1/24: what "
			"VMs and their node send one another stays on the node.",
		.check = check_prefix),
	ROW("prefix6", STRING, prefix6,
		.help = "IPv6 network, as 2001:db8:1::/64, in which a VM has the address that its MAC "
			"makes (EUI-64) beside the one of the link; the agent sets it.",
		.check = check_prefix6),
	ROW("gateway6", STRING, gateway6,
		.help = "IPv6 gateway of VMs, as fe80::1; what routers advertise when not set.",
		.check = check_ipv6),
	ROW("isolated", BOOL, isolated, .default_value = "no",
		.help = "Whether VMs of one node do not reach one another by this network."),
	ROW("rate_up", SIZE, rate_up, .default_value = "0",
		.help = "Bytes a second that a VM may send; 0: any."),
	ROW("rate_down", SIZE, rate_down, .default_value = "0",
		.help = "Bytes a second that a VM may be sent; 0: any."),
	ROW("guaranteed", SIZE, guaranteed, .default_value = "0",
		.help = "Bytes a second that each VM may send by the uplink at any time, of its capacity; "
			"what others leave may be used beyond that. 0: nothing is guaranteed."),
	ROW("capacity", SIZE, capacity, .default_value = "0",
		.help = "Bytes a second of the uplink that VMs share, where some are guaranteed."),
	ROW("mtu", NUMBER, mtu, .default_value = "0", .min = 0, .max = MTU_MAX,
		.help = "Largest packet; that of the bridge when 0."),
	ROW("queues", NUMBER, queues, .default_value = "0", .min = 0, .max = VM_QUEUES_MAX,
		.help = "Most queues of a card, of VMs that boot; never more than the VM has CPUs. 0: one "
			"for a VM of less than four CPUs, else as many as CPUs, up to 8."),
	ROW("vhost", CHOICE, vhost, .default_value = "auto", .choices = "auto|yes|no",
		.help = "Whether the node's kernel moves frames itself (vhost-net) for VMs that boot with "
			"KVM: auto (where it is there), yes (VMs fail where it is not), or no."),
	ROW("users", WORDS, users,
		.help = "Users, and @groups, whose VMs may be on it; all when not set."),
	{.key = NULL},
};

#define SECTION                                                                                \
	.kind = "network", .table = network_table, .size = sizeof(struct network),             \
	.help = "Networks of a node that VMs can be on, by --network NAME. Only the system's " \
		"file, and what a site gives its nodes, may have them."

const struct conf_list network_section = {SECTION};
const struct conf_list network_section_refused = {
	SECTION, .refused = "networks are the site's: only the system's wnodes.conf may have them"};

static int check_each(
	char *const *list, int (*check)(const char *text, struct error *err), struct error *err)
{
	int r = 0;

	for (; *list && r == 0; list++)
		r = check(*list, err);
	return r;
}

/* What no single line can tell. */
static int network_check(const struct network *n, struct error *err)
{
	if (streq(n->name, "none") || streq(n->name, "user") || streq(n->name, "job"))
		return fail(err, -EINVAL, "no network can be called so");
	if (network_check_name(n->name, err) < 0)
		return err->code;
	if (n->bridge && n->uplink)
		return fail(err, -EINVAL, "it has bridge and uplink; it is one or the other");
	if (n->uplink && n->vlan == 0)
		return fail(err, -EINVAL,
			"uplink needs vlan: what is not tagged is the node's own; make a bridge for it, "
			"and name that");
	if (n->vlan && !n->uplink && !n->bridge)
		return fail(err, -EINVAL, "vlan needs uplink or bridge");
	if (n->node_address && n->bridge)
		return fail(err, -EINVAL, "node_address is for a bridge that is made, not for '%s'",
			n->bridge);
	if (n->closed && !n->site_networks[0])
		return fail(err, -EINVAL, "class = closed needs site_networks");
	if (n->gateway6 && !n->prefix6)
		return fail(err, -EINVAL, "gateway6 needs prefix6");
	if (n->guaranteed && (!n->uplink || !n->capacity))
		return fail(err, -EINVAL, "guaranteed needs uplink and capacity");
	if (n->mtu && n->mtu < MTU_MIN)
		return fail(err, -EINVAL, "mtu is below %d", MTU_MIN);
	if (check_each(n->site_networks, check_prefix, err) < 0)
		return fail_within(err, "site_networks");
	return check_each(n->nameservers, check_address, err) < 0 ? fail_within(err, "nameservers")
								  : 0;
}

int networks_check(struct networks *n, const char *path, struct error *err)
{
	for (size_t i = 0; i < n->list.count; i++) {
		const struct conf_item *item = &n->list.items[i];
		struct network *network = item->settings;

		network->name = item->name;
		network->closed = streq(network->class_word, "closed");
		if (network_check(network, err) < 0)
			return fail_within(
				err, "%s:%d: [network %s]", path, item->line, item->name);
	}
	return 0;
}

int networks_load(struct networks *ret, const char *pushed, const char *path, struct error *err)
{
	struct site_file file AUTO(site_file_done);
	int r = site_file_load_over(&file, NULL, pushed, path, err);

	*ret = file.networks;
	file.networks = (struct networks){network_section};
	return r;
}

void networks_done(struct networks *n)
{
	conf_list_done(&n->list);
}

const struct network *networks_find(const struct networks *n, const char *name)
{
	for (size_t i = 0; i < n->list.count; i++)
		if (streq(n->list.items[i].name, name))
			return n->list.items[i].settings;
	return streq(name, "bridge") && n->list.count > 0 ? n->list.items[0].settings : NULL;
}

int network_get_range(const struct network *network, struct network_range *ret)
{
	return streq(network->addresses, ADDRESSES_OF_LEASES)
		       ? -ENOENT
		       : parse_range(network->addresses, ret);
}
