/* The index of a file: which chunks it consists of, in the format of casync's blob indexes
 * (.caibx), with SHA-256 ids. Numbers are little-endian and of 64 bits:
 *
 *   48, 0x96824d9c7b129ff9 (index), feature flags, smallest, average and largest chunk's size
 *   2^64 - 1, 0xe75b9e112f17417d (table)
 *   a row for each chunk: the offset of its end, its id (32 bytes)
 *   0, 0, 48, the table's size, 0x4b4f050e5549ecd1 (tail)
 */
#pragma once

#include "depot/chunk.h"

#define CAIBX_BYTES_MAX (64 * 1024 * 1024)
#define CAIBX_SIZE_MAX  (UINT64_C(1) << 40) /* of the file */

/* Smaller ones would be more index than content. The last chunk may be. */
#define CAIBX_CHUNK_MIN 1024

struct caibx_chunk {
	uint64_t offset;
	uint32_t size;
	uint8_t id[CHUNK_ID_SIZE];
};

struct caibx {
	uint64_t size;              /* of the file: the chunks cover it without gaps, in order */
	uint64_t min, average, max; /* of a chunk, in bytes; CAIBX_CHUNK_MIN to CHUNK_SIZE_MAX */
	size_t count;
	struct caibx_chunk *chunks;
};

/* Parses bytes of anybody's. All chunks but the last have from min to max bytes. Returns 0 and *ret
 * for caibx_free(), -EBADMSG with the reason, or -ENOMEM. */
int caibx_parse(const void *bytes, size_t length, struct caibx **ret, struct error *err);

/* Appends the index to `ret`. Returns 0 or -ENOMEM. */
int caibx_format(const struct caibx *x, struct buffer *ret);

/* How long caibx_format() makes it. */
size_t caibx_length(const struct caibx *x);

/* The chunk that has this byte of the file, or NULL behind the end. */
const struct caibx_chunk *caibx_find(const struct caibx *x, uint64_t offset);

struct caibx *caibx_free(struct caibx *x);
DEFINE_CLEANUP(struct caibx *, caibx_free)
