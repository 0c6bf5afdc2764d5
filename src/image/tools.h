/* The programs that a build runs, looked for before it begins rather than half-way. */
#pragma once

#include "lib/error.h"

/* Looks for all of them in `path` (as $PATH). Returns 0, or -ENOENT with what to install. */
int tools_check(const char *path, struct error *err);
