/* Usage records of all nodes. A node delivers each at least once; it is stored once, by its id.
 * What a record says: docs/records.md. */
#pragma once

#include "controller/route.h"

extern const struct listing record_listing;
extern const struct route record_routes[];
