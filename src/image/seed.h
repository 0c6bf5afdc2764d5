/* The NoCloud seed: a small ISO 9660 image by which cloud-init, in a cloud image as its distributor
 * made it, gets our agent and starts it at each boot. */
#pragma once

#include "lib/error.h"

/* Opens the seed, read-only, for the caller to attach to the VM as a disk; it is made when there is
 * none for this agent yet, and kept in the cache directory (or $WNODES_SEEDS) as seed-<sha256>.iso.
 * Returns the descriptor or negative errno (-ENOENT: a program that is needed is not installed). */
int seed_open(struct error *err);

/* The same with everything given: `agent` is the agent's path, `directory` the cache. */
int seed_open_in(const char *directory, const char *agent, struct error *err);
