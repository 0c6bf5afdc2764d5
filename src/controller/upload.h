/* How an image comes into the controller's depot: its publisher asks which chunks are not there,
 * sends those, then the indexes, and publishes it. Each thing is verified before it is kept. */
#pragma once

#include "controller/route.h"

/* Chunks that are asked for at once. */
#define UPLOAD_IDS_MAX 10000

/* Bytes of chunks that are sent at once; see piece.h. */
#define UPLOAD_BYTES_MAX (UINT64_C(16) << 20)

/* Takes the manifest of an image that is to be published, if all of its parts are in the depot with
 * these indexes: they were checked against the manifest. In the worker's thread. Returns 0, or the
 * status with the error said. */
int upload_finish(struct exchange *x, const char *manifest, json_t *parts);

/* What the depot has of images that ended long ago, or that were never published, goes. In the
 * worker's thread. */
void upload_collect(struct controller *c);

extern const struct route upload_routes[];
