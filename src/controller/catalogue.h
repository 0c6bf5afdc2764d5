/* The catalogue as nodes and users have it: which images there are, what may be started, what names
 * stand for, in one document that is asked for again and again and seldom changes. */
#pragma once

#include "controller/route.h"

/* The catalogue has a new revision. In a write transaction. Returns 0 or negative errno. */
int catalogue_touch(struct sql *db, struct error *err);

extern const struct route catalogue_routes[];
