/* Whom a node gets an image's chunks from: other nodes that have some, and have a good name. */
#pragma once

#include "controller/route.h"

extern const struct route peer_routes[];
