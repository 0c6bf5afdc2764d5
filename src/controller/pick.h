/* The controller as an origin that knows what it has given: POST /depot/pick, as nodes ask each
 * other (depot/pick.h). */
#pragma once

#include "controller/route.h"

extern const struct route pick_routes[];
