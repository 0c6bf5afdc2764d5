/* The networks of a node that VMs can be on: the sections "[network NAME]" of the system's
 * wnodes.conf. Who runs a VM names one; the node's daemon, which has the rights, connects it. */
#pragma once

#include <netinet/in.h>

#include "lib/conf.h"

/* With NUL: "wnv-" and it are the name of a device. */
#define NETWORK_NAME_MAX 12

struct network {
	const char *name;
	char *bridge, *uplink; /* one of them, or neither; NULL: not set */
	uint64_t vlan;         /* 0: none */
	char *class_word;
	bool closed;
	char *addresses; /* "FIRST-LAST/PREFIX", or "lease" */
	char *gateway;
	char **nameservers, **site_networks;
	char *node_address; /* "ADDRESS/PREFIX" */
	char *prefix6;      /* "PREFIX/64" */
	char *gateway6;     /* NULL: what routers advertise */
	bool isolated;
	uint64_t rate_up, rate_down, guaranteed, capacity; /* bytes a second; 0: none */
	uint64_t mtu;                                      /* 0: the bridge's */
	uint64_t queues;                                   /* 0: as the VM's CPUs are */
	char *vhost;                                       /* "auto", "yes" or "no" */
	char **users;                                      /* names, and @groups; none: all */
};

struct networks {
	struct conf_list list; /* of struct network */
};

/* For the example file and the manual page; without items. */
extern const struct conf_list network_section, network_section_refused;

/* Is it "none", "user", or what can be a network's name? Returns 0 or -EINVAL. */
int network_check_name(const char *text, struct error *err);

/* Checks what no single line can tell, and fills what the table does not. Returns 0 or -EINVAL
 * with "FILE:LINE: ..." in the message. */
int networks_check(struct networks *n, const char *path, struct error *err);

/* Those of two files, which need not be there: what `path` says stands for what `pushed` says of
 * the same name. Returns 0 or negative errno; `ret` is then empty. */
int networks_load(struct networks *ret, const char *pushed, const char *path, struct error *err);
void networks_done(struct networks *n);

/* NULL: there is none. "bridge" is the first, unless one is called so. */
const struct network *networks_find(const struct networks *n, const char *name);

/* Addresses that are given to VMs in turn, in the host's byte order. */
struct network_range {
	uint32_t first, last;
	uint8_t prefix;
};

/* Returns 0, or -ENOENT where addresses are those of leases. */
int network_get_range(const struct network *network, struct network_range *ret);

/* "10.0.0.0/8" or "2001:db8::/32". Returns the family, or -EINVAL. */
int network_parse_prefix(
	const char *text, struct in6_addr *ret_address, uint8_t *ret_prefix, struct error *err);

/* Is this VLAN among "5", "100-199"? An empty list has all. */
bool network_has_vlan(const char *const *list, uint64_t vlan);
