/* What a daemon gives up before it hears anybody: what it never does cannot be made to happen. */
#pragma once

#include "lib/error.h"

/* No core files, no new privileges, not to be looked at by other programs; and as many descriptors
 * as the host allows, up to `descriptors`. Returns 0 or negative errno. */
int confinement_set_limits(size_t descriptors, struct error *err);

/* Forbids, for good and for what is started from now on, system calls by which a host can be
 * changed or other processes looked into, and `count` of the caller's choice. Returns 0 or negative
 * errno. */
int confinement_forbid(const int *more, size_t count, struct error *err);

/* All of this for a helper that speaks with the network: it never runs a program either. Returns 0
 * or negative errno. */
int confinement_set_helper(size_t descriptors, struct error *err);
