/* GET /healthz: whether the controller serves, for load balancers and people. */
#pragma once

#include "controller/route.h"

extern const struct route health_routes[];
