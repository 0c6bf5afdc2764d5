/* What VMs may send: one table of nftables, family netdev, in which each tap has a chain at its
 * entrance to the node. A frame is looked at once, by the rules of its own tap alone, before any
 * bridge or queue has seen it, so that 200 VMs cost it nothing.
 *
 * A VM sends with its own MAC and addresses, or not at all: Ethernet, ARP, IPv4, IPv6 and neighbour
 * discovery are held to them. It is no DHCP server and no router, and sends nothing but IPv4, IPv6
 * and ARP, without VLAN tags.
 *
 * The rules are text for the program nft, 5 ms a call: its library's licence, GPL-2 alone, is none
 * that this program could have beside its own. */
#pragma once

#include <net/if.h>
#include <netinet/in.h>

#include "lib/error.h"
#include "net/link.h"

#define FIREWALL_NETWORK_MAX 32 /* letters, digits, '.', '_', '-'; with NUL */
#define FIREWALL_ADDRESSES6  4

/* Makes the table, if it is not there. Returns 0 or negative errno: -ENOENT if there is no nft. */
int firewall_open(struct error *err);

/* What the VMs of a network may reach. */
struct firewall_network {
	const char *name;
	bool closed; /* not `site`, but for name servers */
	/* Lists that end with NULL, or NULL: "10.0.0.0/8" and the like; addresses. */
	const char *const *site, *const *nameservers;
};

/* Puts its rules in the place of those that there were, at once for all its taps. */
int firewall_set_network(const struct firewall_network *network, struct error *err);

struct firewall_port {
	const char *device, *network; /* of the network the rules must have been set */
	bool closed;                  /* the network is; what it does not reach does not reach it */
	uint8_t mac[LINK_MAC_SIZE];
	struct in_addr address; /* 0: none */
	struct in6_addr addresses6[FIREWALL_ADDRESSES6];
	size_t address6_count;
	struct in_addr server; /* the node's address, whose NFS server it may be let through to;
				* 0: none */
	uint64_t rate;         /* bytes a second that it may send; 0: any */
	uint16_t share;        /* of the way out, as rate_add_share(); 0: none */
};

/* In one transaction: there is no moment with half the rules. */
int firewall_add(const struct firewall_port *port, struct error *err);

/* Removes the rules of devices, at once; those of whom there are none are passed over. */
int firewall_remove(const char *const *devices, size_t count, struct error *err);

/* Removes the rules of devices that begin with `prefix` and are not there any more: kernels before
 * 6.16 do it themselves. */
int firewall_sweep(const char *prefix, struct error *err);

/* The node's NFS server knows a VM by its address. While something is served to an address, from
 * firewall_begin_served() to firewall_end_served(), the server is reached from there only through
 * the tap of the VM that has the address, and only while that is let through to it, also on a
 * closed network: from firewall_admit() to firewall_dismiss(). So nobody else of the network who
 * takes the address reaches it, nor the next VM that is given it. All of it stays when the daemon
 * ends. Each returns 0 or negative errno; what is so already is no error. */
int firewall_begin_served(struct in_addr address, struct error *err);
int firewall_end_served(struct in_addr address, struct error *err);
int firewall_admit(struct in_addr address, struct error *err);
int firewall_dismiss(struct in_addr address, struct error *err);
int firewall_dismiss_all(struct error *err);
