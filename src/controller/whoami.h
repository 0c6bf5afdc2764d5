/* Whom the controller takes a caller for. */
#pragma once

#include "controller/route.h"

extern const struct route whoami_routes[];
