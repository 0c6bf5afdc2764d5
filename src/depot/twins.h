/* Places in an index that have the same chunk. */
#pragma once

#include "depot/caibx.h"

struct twins;

/* Chunks of zeros (see zeros.h) are left out: nobody has to find them. Returns 0 or -ENOMEM. The
 * index is borrowed. */
int twins_new(const struct caibx *index, struct twins **ret);
struct twins *twins_free(struct twins *t);
DEFINE_CLEANUP(struct twins *, twins_free)

#define TWINS_END SIZE_MAX

/* The first place of the chunk at place `i`; `i` itself for most. */
size_t twins_first(const struct twins *t, size_t i);

/* The next place of the same chunk, from the first on; TWINS_END behind the last. */
size_t twins_next(const struct twins *t, size_t i);
