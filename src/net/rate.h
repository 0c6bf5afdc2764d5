/* How fast a VM may be, by the kernel's queues (tc). Rates are bytes a second. */
#pragma once

#include "net/netlink.h"

/* What leaves the device `index` (to a VM, where it is a tap) is held back beyond `bytes`. */
int rate_limit(struct netlink *n, int index, uint64_t bytes, struct error *err);

/* The way out of the node, which VMs share: of `capacity` each has its guaranteed part, and may
 * borrow what others leave. What belongs to no share has what is left. */
int rate_share(struct netlink *n, int index, uint64_t capacity, struct error *err);

/* A VM's part, by which the firewall marks its frames: 2 to 65535. `ceiling` 0: the capacity. */
int rate_add_share(struct netlink *n, int index, uint16_t share, uint64_t guaranteed,
	uint64_t ceiling, struct error *err);

/* 0 also if there is none. */
int rate_remove_share(struct netlink *n, int index, uint16_t share);

/* Calls `each` for the shares that there are. */
int rate_each_share(
	struct netlink *n, int index, void (*each)(uint16_t share, void *userdata), void *userdata);
