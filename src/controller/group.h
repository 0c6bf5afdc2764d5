/* Host groups: nodes that are administered together, by administrators of their own. */
#pragma once

#include "controller/route.h"

extern const struct listing group_listing;
extern const struct route group_routes[];
