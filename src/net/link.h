/* Network devices of the node: taps for VMs, and the bridges, VLANs and tunnels that they are
 * connected by. All need CAP_NET_ADMIN. */
#pragma once

#include <net/if.h>
#include <netinet/in.h>

#include "net/netlink.h"

#define LINK_MAC_SIZE   6
#define LINK_MAC_TEXT   18 /* "52:54:00:12:34:56" and NUL */
#define LINK_ALIAS_MAX  256
#define LINK_QUEUES_MAX 8

struct link {
	int index;
	char name[IFNAMSIZ];
	char kind[16]; /* "tun", "bridge", "vlan"; "": none, a card */
	char alias[LINK_ALIAS_MAX];
	uint8_t mac[LINK_MAC_SIZE];
	uint32_t mtu;
	int master; /* index; 0: none */
	bool up;
	uint64_t received_bytes, sent_bytes; /* by the device: what a VM sends its tap receives */
};

/* Returns 0, -ENODEV if there is none of this name, or another negative errno. */
int link_get(struct netlink *n, const char *name, struct link *ret);

/* Calls `each` for all; it ends with the first that does not return 0, which is returned. */
typedef int (*link_fn)(const struct link *link, void *userdata);
int link_each(struct netlink *n, link_fn each, void *userdata);

/* The device that a message of netlink_hear() is about; its index, and -EPROTO if that is none. */
int link_heard(const struct nlmsghdr *header);

/* Makes a tap with `queues` descriptors: frames with a virtio header before them, which QEMU
 * negotiates further. The device goes with the last descriptor, whoever has it, or by
 * link_remove(). Returns 0 and descriptors that do not block, or negative errno. */
int link_open_tap(const char *name, size_t queues, int *ret_fds, struct error *err);

/* A bridge does not speak spanning tree: it has one way out. Returns 0, also if there is one of
 * this name already (`ret`), or negative errno. */
int link_add_bridge(struct netlink *n, const char *name, struct link *ret, struct error *err);

/* What leaves `lower` with this number; the same if it is there already. */
int link_add_vlan(struct netlink *n, const char *name, int lower, uint16_t vlan, struct link *ret,
	struct error *err);

struct link_tunnel {
	uint32_t key;         /* the VNI, 24 bits */
	struct in_addr local; /* 0: what routes say */
	uint16_t port;
	uint16_t from_first, from_last; /* ports that it sends from; 0: the kernel's choice */
	int lower;                      /* device that it is bound to; 0: what routes say */
	bool learning; /* of who is where; else all of that is told by link_add_peer() */
};

/* A VXLAN device. Returns 0, -EEXIST, or another negative errno. */
int link_add_tunnel(struct netlink *n, const char *name, const struct link_tunnel *tunnel,
	struct link *ret, struct error *err);

/* Frames to `mac` (NULL: to all whose place is not known, and to groups) go to `remote` too. */
int link_add_peer(
	struct netlink *n, int index, const uint8_t *mac, struct in_addr remote, struct error *err);

/* Two ends of a cable. */
int link_add_pair(struct netlink *n, const char *name, const char *peer, struct error *err);

/* What changes; what is 0, NULL or "" stays as it is. */
struct link_change {
	bool up, down;
	uint32_t mtu;
	int master; /* becomes a port of this bridge */
	bool no_master;
	const uint8_t *mac;
	const char *alias;
	uint32_t group;
};

int link_change(struct netlink *n, int index, const struct link_change *change);

/* As a port of a bridge: `isolated` ports do not reach one another. `vlan` is what the bridge, if
 * it filters, has the port's frames in; 0: none. */
struct link_port {
	bool isolated;
	uint16_t vlan;
};

int link_set_port(struct netlink *n, int index, const struct link_port *port);

/* 0 also if it has the address. */
int link_add_address(struct netlink *n, int index, int family, const void *address, uint8_t prefix);

/* Removes the device, whoever has descriptors of it. Returns 0 also if there is none. */
int link_remove(struct netlink *n, const char *name);

/* Removes all of a group at once, which takes as long as one: the kernel waits until nobody looks
 * at them any more. */
int link_remove_group(struct netlink *n, uint32_t group);

/* "52:54:00:12:34:56". Returns 0 or -EINVAL. */
int link_parse_mac(const char *text, uint8_t ret[LINK_MAC_SIZE]);
const char *link_format_mac(const uint8_t mac[LINK_MAC_SIZE], char ret[LINK_MAC_TEXT]);
