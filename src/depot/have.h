/* The file beside a part that says which of its chunks are there; assembly.h has its layout. */
#pragma once

#include "depot/caibx.h"

/* Reads which chunks an earlier process has put: `bits` has (count + 7) / 8 bytes. Returns 1, 0 if
 * the file is empty, of another index or no such file (the bits are then all 0), or negative errno.
 */
int have_load(
	int fd, const struct caibx *index, const uint8_t index_digest[DIGEST_SIZE], uint8_t *bits);

/* Makes it a file that says that nothing is there. Returns 0 or negative errno. */
int have_create(int fd, const struct caibx *index, const uint8_t index_digest[DIGEST_SIZE]);

/* Writes `length` bytes of the bits, from byte `first` on. Returns 0 or negative errno. */
int have_store(int fd, size_t first, const uint8_t *bits, size_t length);
