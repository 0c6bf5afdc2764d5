/* A VM's addresses: those of its lease, or the next of the network's own range. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "hypervisor/names.h"
#include "hypervisor/tap_private.h"

/* Locally administered; with the address behind them no two VMs of a network have the same. */
static const uint8_t mac_prefix[] = {0x52, 0x57};

static bool is_taken(const struct taps *t, const char *network, struct in_addr address)
{
	for (const struct tap *tap = t->list; tap; tap = tap->next)
		if (tap->address.s_addr == address.s_addr && streq(tap->network, network))
			return true;
	return false;
}

static int choose_from_range(struct taps *t, const struct network *network,
	const struct network_range *range, struct tap *tap, struct error *err)
{
	for (uint64_t number = range->first; number <= range->last; number++) {
		const struct in_addr address = {htonl((uint32_t)number)};

		if (is_taken(t, network->name, address))
			continue;
		tap->address = address;
		tap->prefix = range->prefix;
		memcpy(tap->mac, mac_prefix, sizeof(mac_prefix));
		memcpy(tap->mac + sizeof(mac_prefix), &address, sizeof(address));
		return 0;
	}
	return fail(
		err, -EAGAIN, "the network '%s' has no address left on this node", network->name);
}

static int choose_from_lease(
	const struct network *network, const json_t *lease, struct tap *tap, struct error *err)
{
	const char *address = json_string_value(json_object_get(lease, "address"));
	const char *mac = json_string_value(json_object_get(lease, "mac"));
	const char *gateway = json_string_value(json_object_get(lease, "gateway"));
	json_int_t prefix = json_integer_value(json_object_get(lease, "prefix"));
	json_int_t vlan = json_integer_value(json_object_get(lease, "vlan"));

	if (!address || !mac || inet_pton(AF_INET, address, &tap->address) != 1 ||
		link_parse_mac(mac, tap->mac) < 0 || prefix < 1 || prefix > 32)
		return fail(err, -EAGAIN,
			"the network '%s' needs a lease of the site for an address, and the node has "
			"none left; [site] pool and lease_block say how many it keeps",
			network->name);
	if (vlan && (uint64_t)vlan != network->vlan)
		return fail(err, -EINVAL,
			"the leases of this node are of the VLAN %lld, and the network '%s' is of %llu",
			(long long)vlan, network->name, (unsigned long long)network->vlan);
	tap->prefix = (uint8_t)prefix;
	snprintf(tap->gateway, sizeof(tap->gateway), "%s", gateway ? gateway : "");
	tap->nameservers = json_incref(json_object_get(lease, "nameservers"));
	return 0;
}

size_t tap_addresses6(const struct network *network, const uint8_t mac[LINK_MAC_SIZE],
	struct in6_addr ret[FIREWALL_ADDRESSES6])
{
	struct in6_addr link = {.s6_addr = {0xfe, 0x80}}, prefix;
	uint8_t *id = link.s6_addr + 8, bits;
	struct error err = {0};

	memcpy(id, mac, 3);
	memcpy(id + 5, mac + 3, 3);
	id[0] ^= 2;
	id[3] = 0xff;
	id[4] = 0xfe;
	ret[0] = ret[1] = link;
	if (!network->prefix6 || network_parse_prefix(network->prefix6, &prefix, &bits, &err) < 0)
		return 1;
	memcpy(ret[1].s6_addr, prefix.s6_addr, TAP_PREFIX6 / 8);
	return 2;
}

void tap_tell_name(const struct tap *tap, const json_t *lease, const char *vm, struct names *names)
{
	char address[INET_ADDRSTRLEN], mac[LINK_MAC_TEXT];
	const struct name_told told = {.vm = vm,
		.name = json_string_value(json_object_get(lease, "name")),
		.address = address,
		.mac = link_format_mac(tap->mac, mac),
		.address6 = tap->address6};

	inet_ntop(AF_INET, &tap->address, address, sizeof(address));
	if (told.name)
		names_add(names, &told);
}

static void note_addresses6(const struct network *network, struct tap *tap)
{
	struct in6_addr addresses[FIREWALL_ADDRESSES6];

	if (tap_addresses6(network, tap->mac, addresses) < 2)
		return;
	inet_ntop(AF_INET6, &addresses[1], tap->address6, sizeof(tap->address6));
	snprintf(tap->gateway6, sizeof(tap->gateway6), "%s",
		network->gateway6 ? network->gateway6 : "");
}

int tap_choose_address(struct taps *t, const struct network *network, const struct tap_wish *wish,
	struct tap *tap, struct error *err)
{
	struct network_range range;
	int r = network_get_range(network, &range);

	r = r == 0 ? choose_from_range(t, network, &range, tap, err)
		   : choose_from_lease(network, wish->lease, tap, err);
	if (r < 0)
		return r;
	note_addresses6(network, tap);
	if (network->gateway)
		snprintf(tap->gateway, sizeof(tap->gateway), "%s", network->gateway);
	if (!network->nameservers[0])
		return 0;
	json_decref(tap->nameservers);
	tap->nameservers = json_array();
	for (char **i = network->nameservers; *i; i++)
		json_array_append_new(tap->nameservers, json_string(*i));
	return 0;
}

bool tap_node_address(const struct network *network, struct in_addr *ret)
{
	struct in6_addr address;
	struct error unused;
	uint8_t prefix;

	if (!network->node_address ||
		network_parse_prefix(network->node_address, &address, &prefix, &unused) != AF_INET)
		return false;
	memcpy(ret, &address, sizeof(*ret));
	return true;
}

int tap_get_path(
	const struct tap *tap, struct in_addr *ret_own, struct in_addr *ret_node, struct error *err)
{
	const struct network *network = networks_find(&tap->taps->networks, tap->network);

	if (!network || !tap_node_address(network, ret_node))
		return fail(err, -ENOENT,
			"the node itself is not on the network '%s'; the administrator puts it there "
			"by node_address in [network %s]",
			tap->network, tap->network);
	*ret_own = tap->address;
	return 0;
}
