/* How a machine becomes a node of the site, and stays one. */
#pragma once

#include "controller/route.h"

extern const struct route join_routes[];
