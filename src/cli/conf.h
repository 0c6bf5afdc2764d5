/* wnodes config. */
#pragma once

#include "cli/verb.h"

extern const struct verb verb_config;
