#include "net/firewall.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "lib/child.h"
#include "net/rules.h"

#define TABLE "netdev wnodes"

/* It waits for whoever else changes rules just now. */
#define NFT            "nft"
#define NFT_TIMEOUT_MS 5000
#define LIST_MAX       (1024 * 1024)

/* Before all else that looks at frames. */
#define HOOK(which) "{ type filter hook " which " device \"%s\" priority -300; policy %s; }\n"

/* Is true of what the kernel could look into: rules about ports and types pass over the rest. */
#define WHOLE "meta l4proto != 255 "

/* The kernel lets a second of the rate and this pass at once: the largest frame that a card with
 * segmentation offload is handed. */
#define BURST_BYTES 65536

/* Chains of networks, and of what goes to a device. No device of ours begins so. */
#define NETWORK_CHAIN "net-"
#define TO_CHAIN      "to-"

/* Addresses of VMs that are let through to the node's NFS server, and those that something is
 * served to: of the latter, what does not come marked, as from a tap, is not let in. */
#define ADMITTED   "nfs"
#define SERVED     "inet wnodes-nfs"
#define SERVED_SET SERVED " served"
#define NFS_PORT   2049
#define NFS_MARK   0x776e6673 /* "wnfs" */

static void add_table(struct rules *r)
{
	rules_add(r, "add table " TABLE "\nadd set " TABLE " " ADMITTED " { type ipv4_addr; }\n");
}

int firewall_open(struct error *err)
{
	struct rules rules = {0};

	add_table(&rules);
	return rules_run(&rules, "of networks", err);
}

static void add_served_table(struct rules *r)
{
	rules_add(r, "add table " SERVED "\nadd set " SERVED_SET " { type ipv4_addr; }\n");
	rules_add(r, "add chain " SERVED
		     " input { type filter hook input priority -10; policy accept; }\n"
		     "flush chain " SERVED " input\n");
	rules_add(r,
		"add rule " SERVED " input tcp dport %d ip saddr @served meta mark != 0x%x drop\n",
		NFS_PORT, NFS_MARK);
}

/* Adding one that is there changes nothing, and one that is not can be deleted then. */
static void change_element(struct rules *r, const char *set, struct in_addr address, bool remove)
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &address, text, sizeof(text));
	rules_add(r, "add element %s { %s }\n", set, text);
	if (remove)
		rules_add(r, "delete element %s { %s }\n", set, text);
}

static int change_served(struct in_addr address, bool remove, struct error *err)
{
	struct rules rules = {0};

	add_served_table(&rules);
	change_element(&rules, SERVED_SET, address, remove);
	return rules_run(&rules, "of the NFS server", err);
}

int firewall_begin_served(struct in_addr address, struct error *err)
{
	return change_served(address, false, err);
}

int firewall_end_served(struct in_addr address, struct error *err)
{
	return change_served(address, true, err);
}

static int change_admitted(struct in_addr address, bool remove, struct error *err)
{
	struct rules rules = {0};

	add_table(&rules);
	change_element(&rules, TABLE " " ADMITTED, address, remove);
	return rules_run(&rules, "of the NFS server", err);
}

int firewall_admit(struct in_addr address, struct error *err)
{
	return change_admitted(address, false, err);
}

int firewall_dismiss(struct in_addr address, struct error *err)
{
	return change_admitted(address, true, err);
}

int firewall_dismiss_all(struct error *err)
{
	struct rules rules = {0};

	add_table(&rules);
	rules_add(&rules, "flush set " TABLE " " ADMITTED "\n");
	return rules_run(&rules, "of the NFS server", err);
}

/* Those of one family: "a, b". Returns false if there are none. */
static bool list_family(const char *const *list, bool six, struct buffer *out, bool *failed)
{
	bool any = false;

	for (; list && *list; list++) {
		if ((strchr(*list, ':') != NULL) != six)
			continue;
		*failed |= any && buffer_append(out, ", ", 2) < 0;
		*failed |= buffer_append(out, *list, strlen(*list)) < 0;
		any = true;
	}
	*failed |= buffer_append(out, "", 1) < 0;
	return any;
}

/* What a closed network does not reach, or is not reached by: `from` is "daddr" or "saddr". */
static void add_closed(struct rules *r, const char *chain, const struct firewall_network *network,
	const char *address, const char *port)
{
	for (int six = 0; six < 2; six++) {
		struct buffer site AUTO(buffer_done) = {0}, servers AUTO(buffer_done) = {0};
		const char *family = six ? "ip6" : "ip";

		if (!list_family(network->site, six, &site, &r->failed))
			continue;
		if (list_family(network->nameservers, six, &servers, &r->failed))
			rules_add(r,
				"add rule " TABLE
				" %s %s %s { %s } meta l4proto { tcp, udp } th %s 53"
				" accept\n",
				chain, family, address, (const char *)buffer_head(&servers), port);
		rules_add(r, "add rule " TABLE " %s %s %s { %s } drop\n", chain, family, address,
			(const char *)buffer_head(&site));
	}
}

int firewall_set_network(const struct firewall_network *network, struct error *err)
{
	struct rules rules = {0};
	char from[64], to[64];

	snprintf(from, sizeof(from), NETWORK_CHAIN "%s", network->name);
	snprintf(to, sizeof(to), NETWORK_CHAIN TO_CHAIN "%s", network->name);
	rules_add(&rules, "add chain " TABLE " %s\nflush chain " TABLE " %s\n", from, from);
	rules_add(&rules, "add chain " TABLE " %s\nflush chain " TABLE " %s\n", to, to);
	rules_add(&rules, "add rule " TABLE " %s udp sport { 67, 547 } drop\n", from);
	rules_add(&rules, "add rule " TABLE " %s icmp type redirect drop\n", from);
	rules_add(&rules,
		"add rule " TABLE " %s icmpv6 type { nd-router-advert, nd-redirect } drop\n", from);
	if (network->closed) {
		add_closed(&rules, from, network, "daddr", "dport");
		/* Errors about what was sent outside come from routers of the site. */
		rules_add(&rules,
			"add rule " TABLE " %s icmp type { destination-unreachable, time-exceeded,"
			" parameter-problem } accept\n",
			to);
		rules_add(&rules,
			"add rule " TABLE
			" %s icmpv6 type { destination-unreachable, packet-too-big,"
			" time-exceeded, parameter-problem } accept\n",
			to);
		add_closed(&rules, to, network, "saddr", "sport");
	}
	rules_add(&rules, "add rule " TABLE " %s accept\n", from);
	return rules_run(&rules, "of a network", err);
}

static void add_ipv4(struct rules *r, const struct firewall_port *port, const char *mac)
{
	char address[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &port->address, address, sizeof(address));
	rules_add(r,
		"add rule " TABLE
		" %s ether type arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4"
		" arp saddr ether %s arp saddr ip { 0.0.0.0, %s } accept\n",
		port->device, mac, address);
	rules_add(r, "add rule " TABLE " %s ip saddr %s " WHOLE "goto " NETWORK_CHAIN "%s\n",
		port->device, address, port->network);
}

/* To the NFS server and from it, of a VM that is let through. */
static void add_server(struct rules *r, const struct firewall_port *port)
{
	char address[INET_ADDRSTRLEN], server[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &port->address, address, sizeof(address));
	inet_ntop(AF_INET, &port->server, server, sizeof(server));
	rules_add(r,
		"add rule " TABLE " %s ip saddr %s ip saddr @" ADMITTED
		" ip daddr %s tcp dport %d meta mark set 0x%x accept\n",
		port->device, address, server, NFS_PORT, NFS_MARK);
}

static void add_closed_port(struct rules *r, const struct firewall_port *port)
{
	const char *device = port->device;
	char server[INET_ADDRSTRLEN];

	rules_add(r,
		"add chain " TABLE " " TO_CHAIN "%s " HOOK("egress") "flush chain " TABLE
								     " " TO_CHAIN "%s\n",
		device, device, "accept", device);
	inet_ntop(AF_INET, &port->server, server, sizeof(server));
	if (port->server.s_addr)
		rules_add(r,
			"add rule " TABLE " " TO_CHAIN "%s ip saddr %s ip daddr @" ADMITTED
			" tcp sport %d accept\n",
			device, server, NFS_PORT);
	rules_add(r, "add rule " TABLE " " TO_CHAIN "%s goto " NETWORK_CHAIN TO_CHAIN "%s\n",
		device, port->network);
}

/* A neighbour is told of the VM's own addresses alone. Fragments could hide what they are part of;
 * from an address of the link nobody has to send any. */
static void add_ipv6(struct rules *r, const struct firewall_port *port)
{
	const char *device = port->device;
	char list[FIREWALL_ADDRESSES6 * (INET6_ADDRSTRLEN + 2)] = "";
	char targets[FIREWALL_ADDRESSES6 * 36] = "";
	size_t used = 0, end = 0;

	for (size_t i = 0; i < port->address6_count; i++) {
		char text[INET6_ADDRSTRLEN];

		inet_ntop(AF_INET6, &port->addresses6[i], text, sizeof(text));
		used += (size_t)snprintf(
			list + used, sizeof(list) - used, "%s%s", i ? ", " : "", text);
		end += (size_t)snprintf(targets + end, sizeof(targets) - end, i ? ", 0x" : "0x");
		for (size_t j = 0; j < sizeof(struct in6_addr); j++)
			end += (size_t)snprintf(targets + end, sizeof(targets) - end, "%02x",
				port->addresses6[i].s6_addr[j]);
	}
	rules_add(r, "add rule " TABLE " %s ip6 saddr fe80::/10 exthdr frag exists drop\n", device);
	rules_add(r,
		"add rule " TABLE " %s ip6 saddr :: icmpv6 type { nd-neighbor-solicit,"
		" mld2-listener-report } accept\n",
		device);
	rules_add(r,
		"add rule " TABLE " %s icmpv6 type nd-neighbor-advert @th,64,128 != { %s } drop\n",
		device, targets);
	rules_add(r, "add rule " TABLE " %s ip6 saddr { %s } " WHOLE "goto " NETWORK_CHAIN "%s\n",
		device, list, port->network);
}

int firewall_add(const struct firewall_port *port, struct error *err)
{
	const char *device = port->device;
	struct rules rules = {0};
	char mac[LINK_MAC_TEXT];

	link_format_mac(port->mac, mac);
	rules_add(&rules, "add chain " TABLE " %s " HOOK("ingress"), device, device, "drop");
	rules_add(&rules, "flush chain " TABLE " %s\n", device);
	rules_add(&rules, "add rule " TABLE " %s ether saddr != %s drop\n", device, mac);
	rules_add(&rules, "add rule " TABLE " %s ether type != { ip, ip6, arp } drop\n", device);
	if (port->rate)
		rules_add(&rules,
			"add rule " TABLE
			" %s limit rate over %llu bytes/second burst %d bytes drop\n",
			device, (unsigned long long)port->rate, BURST_BYTES);
	if (port->share)
		rules_add(&rules, "add rule " TABLE " %s meta priority set 1:%x\n", device,
			port->share);
	if (port->address.s_addr && port->server.s_addr)
		add_server(&rules, port);
	if (port->address.s_addr)
		add_ipv4(&rules, port, mac);
	rules_add(&rules,
		"add rule " TABLE " %s ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept\n",
		device);
	if (port->address6_count)
		add_ipv6(&rules, port);
	if (port->closed)
		add_closed_port(&rules, port);
	return rules_run(&rules, "of a VM's network card", err);
}

/* As change_element(). */
static void delete_chain(struct rules *r, const char *prefix, const char *device)
{
	rules_add(r, "add chain " TABLE " %s%s\ndelete chain " TABLE " %s%s\n", prefix, device,
		prefix, device);
}

int firewall_remove(const char *const *devices, size_t count, struct error *err)
{
	struct rules rules = {0};

	for (size_t i = 0; i < count; i++) {
		delete_chain(&rules, "", devices[i]);
		delete_chain(&rules, TO_CHAIN, devices[i]);
	}
	return count ? rules_run(&rules, "anew", err) : 0;
}

static void sweep_chain(struct rules *rules, const char *chain, const char *prefix)
{
	const char *to = str_after(chain, TO_CHAIN);
	const char *device = to ? to : chain;

	if (str_after(device, prefix) && if_nametoindex(device) == 0)
		delete_chain(rules, to ? TO_CHAIN : "", device);
}

int firewall_sweep(const char *prefix, struct error *err)
{
	static const char *const argv[] = {NFT, "list", "chains", "netdev", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	autofree char *text = NULL;
	struct rules rules = {0};
	char *line, *rest;
	int r;

	spec.argv = argv;
	r = child_output(&spec, NFT_TIMEOUT_MS, LIST_MAX, &text, err);
	if (r < 0)
		return r;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *chain = line + strspn(line, "\t");

		if (!str_after(chain, "chain "))
			continue;
		chain += strlen("chain ");
		chain[strcspn(chain, " ")] = '\0';
		sweep_chain(&rules, chain, prefix);
	}
	return rules.text.len > 0 ? rules_run(&rules, "of what is gone", err) : 0;
}
