/* What of images this machine has already: chunks, in files that are here.
 *
 * An entry is a hint and nothing more: where it leads is read and verified before anything is made
 * of it, so a file may change, and entries take 24 bytes each instead of a whole id.
 *
 * All calls but new and free may be made by several threads at once. */
#pragma once

#include "depot/assembly.h"

struct inventory;

int inventory_new(struct inventory **ret);
struct inventory *inventory_free(struct inventory *v);
DEFINE_CLEANUP(struct inventory *, inventory_free)

/* Adds the chunks of a file, in the place of those of an earlier file of this name (its SHA-256,
 * say; shorter than DIGEST_HEX_SIZE). The descriptor is duplicated; the index is not needed
 * afterwards. `bits` (see assembly_get_bits()) says which chunks are there; NULL: all. Chunks of
 * zeros are not listed. Returns 0 or negative errno. */
int inventory_add(struct inventory *v, const char *name, int fd, const struct caibx *index,
	const uint8_t *bits);

/* Forgets a file and closes our descriptor of it. */
void inventory_remove(struct inventory *v, const char *name);

/* May this chunk be here? False is certain. */
bool inventory_has(struct inventory *v, const struct caibx_chunk *chunk);

/* Reads a chunk, verified, into `data` (chunk->size bytes). Returns 1, 0 if it is not here, or
 * negative errno. */
int inventory_read(struct inventory *v, const struct caibx_chunk *chunk, void *data);

/* Puts chunk `i` of the assembly from a file that has it. Returns 1, 0 if it is not here, or the
 * negative errno with which the assembly could not be written. */
int inventory_copy(struct inventory *v, struct assembly *a, size_t i, struct error *err);
