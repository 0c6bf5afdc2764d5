/* A node as the site's controllers know it; what `wnodes node` does to another node than this one.
 * All return the exit status. */
#pragma once

#include "lib/base.h"

int node_site_show(const char *name, bool json);

/* Drains (with a reason) or resumes (`reason` is NULL). */
int node_site_drain(const char *name, const char *reason, bool json);
