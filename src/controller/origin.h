/* The controller as an origin: its depot, a directory of chunks, indexes and manifests that any web
 * server could serve, under /depot. What is there never changes, so whoever is between may keep it.
 */
#pragma once

#include "controller/route.h"

extern const struct route origin_routes[];
