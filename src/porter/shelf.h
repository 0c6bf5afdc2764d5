/* The images that are given to others whole, as the daemon says: its files, lent for reading. */
#pragma once

#include "porter/porter.h"

struct shelf;

int shelf_new(struct porter *p, struct shelf **ret, struct error *err);
struct shelf *shelf_free(struct shelf *s);
DEFINE_CLEANUP(struct shelf *, shelf_free)

/* Lends what is new of [{"digest","blobs":[...]}], and closes what is not there any more. Returns
 * 0, also where the daemon does not lend something, or negative errno. */
int shelf_set(struct shelf *s, const json_t *serve, struct error *err);

/* [{"digest","state":"complete","done":1}]: new. */
json_t *shelf_to_json(const struct shelf *s);
