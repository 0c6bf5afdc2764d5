/* The verbs of `wnodes depot`. */
#pragma once

#include "cli/verb.h"

extern const struct verb verb_depot_list, verb_depot_remove, verb_depot_gc, verb_depot_verify;
