/* Where a file is cut into chunks: at multiples of 4 KiB, so that a file system can share the
 * blocks of equal chunks, and where the content says so, so that equal content is cut alike
 * wherever it lies. The rule is the publisher's own: whoever fetches goes by the index. */
#pragma once

#include "lib/base.h"

#define CHUNKER_BLOCK   4096
#define CHUNKER_MIN     (4 * CHUNKER_BLOCK)
#define CHUNKER_AVERAGE (20 * CHUNKER_BLOCK) /* about: of small files less, of large ones more */
#define CHUNKER_MAX     (64 * CHUNKER_BLOCK)

/* Gives the size of the first chunk of `data`, which is the file from a boundary on: CHUNKER_MAX
 * bytes of it, or what is left. A run of zeros of at least CHUNKER_MIN is apart, in chunks of zeros
 * alone, for which *ret_zeros is set. Only the last chunk may be smaller than CHUNKER_MIN. */
size_t chunker_cut(const uint8_t *data, size_t length, bool *ret_zeros);
