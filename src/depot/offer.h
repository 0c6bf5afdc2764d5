/* What one node, or an origin, gives of one file: of those chunks that somebody lacks, those that
 * it has given least. So rare ones are spread first, and an origin gives each chunk once before it
 * gives one twice, without anybody knowing what others have. Pure decisions, without I/O. */
#pragma once

#include "depot/pick.h"

struct offer;

/* `sizes` are the chunks' bytes, copied; `seed` makes the order in which equals are given another
 * one on each node. NULL when out of memory. */
struct offer *offer_new(const uint32_t *sizes, size_t count, uint64_t seed);
struct offer *offer_free(struct offer *o);
DEFINE_CLEANUP(struct offer *, offer_free)

/* This chunk is there. `common`: others have it as well, as it came from one of them. */
void offer_add(struct offer *o, uint32_t chunk, bool common);
bool offer_has(const struct offer *o, uint32_t chunk);
size_t offer_count(const struct offer *o);

/* Chooses up to `max` chunks that are wanted and there, and notes that they are given. Returns how
 * many. */
size_t offer_pick(struct offer *o, const struct pick *pick, uint32_t *ret, size_t max);
