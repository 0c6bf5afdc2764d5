/* The bridge that the taps of a network are ports of: the administrator's, or one that is made, and
 * stays, with a VLAN of a card as its way out. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "hypervisor/tap_private.h"

/* Those of a bridge that is made: not changed by what comes and goes. */
static const uint8_t mac_prefix[] = {0x52, 0x57, 0xff};

static int add_node_address(
	struct taps *t, const struct network *network, const struct link *bridge, struct error *err)
{
	struct in6_addr address;
	uint8_t prefix;
	int r;

	if (!network->node_address)
		return 0;
	r = network_parse_prefix(network->node_address, &address, &prefix, err);
	if (r < 0)
		return r;
	r = link_add_address(t->netlink, bridge->index, r, &address, prefix);
	return r < 0 ? netlink_fail(t->netlink, r, err, "cannot give '%s' the address %s",
			       bridge->name, network->node_address)
		     : 0;
}

/* The VLAN of the card becomes a port, behind a queue in which VMs have their shares. */
static int add_uplink(
	struct taps *t, const struct network *network, const struct link *bridge, struct error *err)
{
	struct link_change change = {.up = true, .master = bridge->index};
	struct link card, vlan;
	char name[IFNAMSIZ];
	int r = link_get(t->netlink, network->uplink, &card);

	if (r < 0)
		return netlink_fail(t->netlink, r, err, "[network %s] uplink '%s' is not there",
			network->name, network->uplink);
	snprintf(name, sizeof(name), NETWORK_VLAN "%s", network->name);
	r = link_add_vlan(t->netlink, name, card.index, (uint16_t)network->vlan, &vlan, err);
	if (r < 0)
		return r;
	r = link_change(t->netlink, vlan.index, &change);
	if (r < 0)
		return netlink_fail(t->netlink, r, err, "cannot connect '%s' with '%s'", vlan.name,
			bridge->name);
	return network->guaranteed ? rate_share(t->netlink, vlan.index, network->capacity, err) : 0;
}

static int make_bridge(
	struct taps *t, const struct network *network, struct link *ret, struct error *err)
{
	uint8_t mac[LINK_MAC_SIZE];
	struct link_change change = {.up = true, .mac = mac, .mtu = (uint32_t)network->mtu};
	char name[IFNAMSIZ];
	int r;

	snprintf(name, sizeof(name), NETWORK_BRIDGE "%s", network->name);
	r = link_add_bridge(t->netlink, name, ret, err);
	if (r < 0)
		return r;
	memcpy(mac, mac_prefix, sizeof(mac_prefix));
	mac[3] = (uint8_t)(ret->index >> 16);
	mac[4] = (uint8_t)(ret->index >> 8);
	mac[5] = (uint8_t)ret->index;
	if (memcmp(ret->mac, mac, sizeof(mac)) == 0 && ret->up)
		return 0;
	r = link_change(t->netlink, ret->index, &change);
	return r < 0 ? netlink_fail(t->netlink, r, err, "cannot set up '%s'", name) : 0;
}

static int find_bridge(
	struct taps *t, const struct network *network, struct link *ret, struct error *err)
{
	int r = link_get(t->netlink, network->bridge, ret);

	if (r < 0)
		return netlink_fail(t->netlink, r, err, "[network %s] bridge '%s' is not there",
			network->name, network->bridge);
	return streq(ret->kind, "bridge") ? 0
					  : fail(err, -EINVAL, "[network %s] '%s' is no bridge",
						    network->name, network->bridge);
}

int tap_network_open(struct taps *t, const struct network *network, const struct tap_wish *wish,
	struct link *ret, struct error *err)
{
	const struct firewall_network rules = {.name = network->name,
		.closed = network->closed,
		.site = (const char *const *)network->site_networks,
		.nameservers = (const char *const *)network->nameservers};
	bool is_new = true;
	int r;

	for (const struct tap *tap = t->list; tap; tap = tap->next)
		is_new &= !tap->index || tap->fd < 0 || !streq(tap->network, network->name);
	r = network->bridge ? find_bridge(t, network, ret, err) : make_bridge(t, network, ret, err);
	if (r < 0 || !is_new)
		return r;
	/* For the first that this daemon lends: a network may have been changed since. */
	if (network->uplink)
		r = add_uplink(t, network, ret, err);
	if (r == 0)
		r = add_node_address(t, network, ret, err);
	if (r == 0)
		r = firewall_open(err);
	return r < 0 ? r : firewall_set_network(&rules, err);
}
