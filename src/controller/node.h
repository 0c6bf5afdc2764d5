/* The nodes of the site: what they tell of themselves (heartbeat.c), what people want of them, and
 * what becomes of those that are not heard of any more. */
#pragma once

#include "controller/route.h"

/* Makes the row of a node that joins; one that is there stays as it is. In a write transaction.
 * Returns 1 if it is new, 0, or negative errno. */
int node_add(struct sql *db, const char *name, const char *hostgroup, uint64_t now_us,
	struct error *err);

struct node_sweep {
	uint64_t now_us;
	/* Since when nodes could be heard: since our start, or since the database was reached
	 * again. Nobody is lost before he could have spoken. */
	uint64_t heard_us;
	uint64_t lost_after_us, lease_grace_us;
};

/* What is due to be done: nodes that were not heard of for `lost_after_us` are lost; leases of
 * those that have been lost for `lease_grace_us` are returned; old events and jobs are forgotten.
 * In a write transaction, each time a part of it that takes milliseconds; any number of controllers
 * may do so. Returns 1 if there is more, 0, or negative errno. */
int node_sweep(struct sql *db, const struct node_sweep *s, struct error *err);

extern const struct listing node_listing;
extern const struct route node_routes[];
extern const struct route heartbeat_routes[];
