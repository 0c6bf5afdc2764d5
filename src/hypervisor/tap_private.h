/* What the files of taps share. */
#pragma once

#include "engine/network.h"
#include "hypervisor/taps.h"
#include "hypervisor/worker.h"
#include "net/firewall.h"
#include "net/link.h"
#include "net/rate.h"

/* A tap's name is this and the first digits of its VM's record id. */
#define TAP_PREFIX "wnt"

/* Devices of networks: the bridge, and what it reaches its VLAN by. */
#define NETWORK_BRIDGE "wn-"
#define NETWORK_VLAN   "wnv-"

/* Of addresses that a MAC makes. */
#define TAP_PREFIX6 64

struct tap {
	struct taps *taps;
	struct tap *next;
	char name[IFNAMSIZ];
	char network[NETWORK_NAME_MAX];
	int index, fd;      /* -1: a daemon before us has lent it; else the first queue's */
	struct vm_tap lent; /* `fd` and all others, until the VM has them */
	bool claimed;
	bool is_cut;   /* nothing goes through it any more, though its VM goes on */
	int forgeries; /* how often its own MAC was found changed */
	struct in_addr address;
	uint16_t share;             /* of the uplink; 0: none */
	uint8_t mac[LINK_MAC_SIZE]; /* the VM's; 0: a daemon before us has not noted it */
	/* What its VM is told, of a tap that we have made: */
	uint8_t prefix;
	uint32_t mtu;
	char gateway[INET_ADDRSTRLEN];
	char address6[INET6_ADDRSTRLEN], gateway6[INET6_ADDRSTRLEN]; /* "": none */
	json_t *nameservers;
};

struct taps {
	sd_event *event;
	const struct settings *settings;
	struct networks networks;
	struct netlink *netlink; /* NULL: not opened yet */
	struct netlink *events;  /* changes of devices; NULL: not opened yet */
	sd_event_source *watch;
	struct tap *list;
	struct worker *worker;
	struct departure *departure; /* taps that are to be removed next; NULL: none */
	bool departing;              /* some are being removed */
	sd_event_source *sweep;
};

/* Makes the devices and rules of a network, as far as they are not there. `ret` is the bridge. */
int tap_network_open(struct taps *t, const struct network *network, const struct tap_wish *wish,
	struct link *ret, struct error *err);

/* Chooses MAC and addresses. Returns 0 or negative errno with what to do. */
int tap_choose_address(struct taps *t, const struct network *network, const struct tap_wish *wish,
	struct tap *tap, struct error *err);

/* Addresses that a MAC makes (EUI-64): that of the link, and where the network has a prefix the one
 * in it. Returns their number. */
size_t tap_addresses6(const struct network *network, const uint8_t mac[LINK_MAC_SIZE],
	struct in6_addr ret[FIREWALL_ADDRESSES6]);

/* Nothing goes through it any more; a worker removes it, with all others that end meanwhile, which
 * takes the kernel as long as one. Takes `fd` (-1: none). */
void tap_depart(struct taps *t, const char *name, int index, int fd);

/* How many it gets: as the network says, who asks can take, and the VM has CPUs for. */
size_t tap_queues_count(const struct network *network, const struct tap_wish *wish);

/* Makes the device with its queues, and opens vhost-net for them, as the network says. Returns 0 or
 * negative errno; what is open then is the tap's. */
int tap_queues_open(const struct network *network, const struct tap_wish *wish, struct tap *tap,
	struct error *err);

/* Closes all but the first, which is `fd`: once its VM has them, a queue that only we still had
 * would be given frames that nobody reads. */
void tap_queues_forget(struct tap *tap);

/* Its own address is above all others, so that no bridge takes it for its own, and is never seen.
 */
void tap_own_mac(const struct tap *tap, uint8_t ret[LINK_MAC_SIZE]);

/* Whoever has a tap's descriptor can change its own MAC, and a bridge then takes what is sent to
 * that for the node's: one that is found changed is set back, which a udev that sets addresses of
 * its own needs, and cut off the second time. */
int tap_watch_open(struct taps *t, struct error *err);
void tap_watch_close(struct taps *t);

/* Looks at one, as after a time without a daemon. */
void tap_watch_check(struct taps *t, struct tap *tap);

/* The node's own IPv4 address on a network. Returns false if it has none. */
bool tap_node_address(const struct network *network, struct in_addr *ret);
