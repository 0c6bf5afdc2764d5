/* The groups of an account, by the system's account database. */
#pragma once

#include "lib/error.h"
#include "lib/strv.h"

/* Adds the names of all groups of `user`, the primary one first; one without a name is "gid<N>".
 * Returns 0, -ENOENT if there is no such user, or another negative errno. */
int membership_load(const char *user, struct strv *ret, struct error *err);
