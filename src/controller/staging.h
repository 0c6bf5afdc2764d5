/* Staging: an image is brought to the nodes of a host group before anybody asks for it, so many at
 * a time that what serves it is not overrun. Nodes see in the catalogue what they are to have, and
 * tell as always what they have. */
#pragma once

#include "controller/route.h"

/* A node has told what it has of images: what it was to have is done or has failed. In a write
 * transaction. Returns 0 or negative errno. */
int staging_note_node(struct sql *db, const char *node, uint64_t now_us, struct error *err);

/* Nodes that are lost, gone or stand still have failed, and the next ones begin. In a write
 * transaction. Returns 0 or negative errno. */
int staging_sweep(struct sql *db, uint64_t now_us, struct error *err);

extern const struct listing staging_listing;
extern const struct route staging_routes[];
