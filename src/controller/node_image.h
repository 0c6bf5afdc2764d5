/* What nodes have of images, and how others get it from them: told by each node's porter, which
 * asks here for peers, and complains here of those that send what is wrong. */
#pragma once

#include "controller/route.h"

/* Forgets all that was told by a node, and of it. In a write transaction. Returns 0 or negative
 * errno. */
int node_image_forget(struct sql *db, const char *node, struct error *err);

extern const struct route node_image_routes[];
