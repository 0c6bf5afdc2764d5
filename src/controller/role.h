/* Who is endorser, or administers the site or a host group. */
#pragma once

#include "controller/route.h"

extern const struct route role_routes[];
