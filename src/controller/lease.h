/* Leases: the right of one node, and of a VM on it, to a place of a pool. A lease is given in one
 * transaction, under an id of the client's choice, so that whoever asks again gets the same. */
#pragma once

#include "controller/route.h"

/* Takes back at most `max` leases of a node. In a write transaction; `reason` is for the event.
 * Returns how many, or negative errno. */
int lease_return_of_node(struct sql *db, uint64_t now_us, const char *node, int max,
	const char *actor, const char *reason, struct error *err);

extern const struct listing lease_listing;
extern const struct route lease_routes[];
