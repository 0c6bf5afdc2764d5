/* One image being fetched: from the daemon's wish to its parts being on the disk, whole. */
#pragma once

#include "porter/porter.h"

struct haul;

/* `image` is what the daemon wants: {"digest","manifest":true,"parts":[{"digest","size","index"}]}.
 * Returns 0 or negative errno. */
int haul_new(struct porter *p, json_t *image, struct haul **ret, struct error *err);

/* Gives up; what has come is kept in the daemon's files. */
struct haul *haul_free(struct haul *h);
DEFINE_CLEANUP(struct haul *, haul_free)

const char *haul_digest(const struct haul *h);

/* From 0 to 1. */
double haul_done(const struct haul *h);

/* {"op":"progress",...}: new. */
json_t *haul_progress(struct haul *h);

/* Does what is to be done now. Returns 1 when the image is there, 0 and in *ret_wait_us after how
 * long it is to be called again at the latest, or negative errno: it cannot be fetched. */
int haul_work(struct haul *h, uint64_t *ret_wait_us, struct error *err);

/* The daemon has something new, perhaps a directory that it was to open. Returns 0 or negative
 * errno: the daemon has ended. */
int haul_on_changed(struct haul *h, struct error *err);

/* The list of peers that a controller gives. */
void haul_set_peers(struct haul *h, const json_t *peers);
