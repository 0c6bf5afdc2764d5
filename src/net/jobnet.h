/* The network of a job on this node: a tap for its VM, joined to a VXLAN tunnel that leads to the
 * job's other nodes. There is no bridge, and no other way: what the VM sends goes into the tunnel,
 * what comes out of the tunnel goes to the VM, and the node's own network sees neither.
 *
 * VXLAN asks nobody who they are. So the tunnels send from ports that need root, and a tunnel takes
 * what comes from such a port of its own peers alone: users of the nodes, and whoever else is on
 * the nodes' network, get nothing in. It is not encrypted: who controls the wire between the nodes
 * can read along.
 *
 * Devices are called after the network's number, wnj000123t and wnj000123x; nothing else need be
 * remembered to remove them. The tap goes with its last descriptor. */
#pragma once

#include <netinet/in.h>

#include "net/link.h"

#define JOBNET_NUMBERS (1u << 24) /* of networks: a VXLAN's VNI */

struct jobnet_member {
	struct in_addr node;        /* where it is */
	uint8_t mac[LINK_MAC_SIZE]; /* of its VM */
};

struct jobnet {
	uint32_t number;
	uint16_t port; /* UDP, of all nodes */
	const struct jobnet_member *members;
	size_t count, self; /* which of them is here */
};

/* Returns 0, the tap's descriptor and the largest frame that passes, or negative errno: -EBUSY if
 * the number is another network's here. Nothing is left after a failure. */
int jobnet_open(struct netlink *n, const struct jobnet *net, int *ret_tap_fd, uint32_t *ret_mtu,
	struct error *err);

/* Removes it, also what is left of one. Returns 0 or negative errno. */
int jobnet_close(struct netlink *n, uint32_t number, struct error *err);

/* Removes those whose VM is gone. Returns how many there were, or negative errno. */
int jobnet_sweep(struct netlink *n, struct error *err);
