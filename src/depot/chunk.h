/* A chunk: a piece of a file, known by the SHA-256 of its bytes, and how it is stored: compressed
 * by zstd, as in a chunk store of casync's. */
#pragma once

#include "lib/buffer.h"
#include "lib/digest.h"

#define CHUNK_ID_SIZE DIGEST_SIZE

/* Larger ones are not accepted from others, so that nobody makes us hold more than this at once. */
#define CHUNK_SIZE_MAX (1024 * 1024)

/* A packed chunk is never larger: what zstd adds to bytes that it cannot compress, and some more
 * for the frames of other programs. */
#define CHUNK_PACKED_MAX (CHUNK_SIZE_MAX + CHUNK_SIZE_MAX / 64 + 1024)

/* Room for "xxxx/ID.cacnk", the path of a chunk below `chunks/`, with its NUL. */
#define CHUNK_PATH_SIZE (4 + 1 + DIGEST_HEX_SIZE - 1 + sizeof(".cacnk"))

/* Gives the id of these bytes. Returns 0, or -EIO with an id of zeros, which no chunk has. */
int chunk_id(const void *data, size_t size, uint8_t ret[CHUNK_ID_SIZE]);

/* Compresses, as a frame of zstd that tells its size, and appends that to `ret`. At most
 * CHUNK_SIZE_MAX bytes. Returns 0, -EINVAL or -ENOMEM. Any thread may call it. */
int chunk_pack(const void *data, size_t size, struct buffer *ret);

/* Decompresses bytes of anybody's into `data`, which has room for `size`. Returns 0 if they give
 * exactly `size` bytes and these have that id, else -EBADMSG with the reason, -ENOMEM, or -EIO;
 * what is in `data` is then worth nothing. Neither time nor memory depend on what a bomb says about
 * itself. Any thread may call it. */
int chunk_unpack(const uint8_t id[CHUNK_ID_SIZE], const void *packed, size_t length, void *data,
	size_t size, struct error *err);

/* The same for a chunk of which only the id is known: `data` has room for CHUNK_SIZE_MAX bytes, and
 * *ret_size is how many there are. */
int chunk_check(const uint8_t id[CHUNK_ID_SIZE], const void *packed, size_t length, void *data,
	size_t *ret_size, struct error *err);

/* How many bytes a packed chunk says that it has, by CHUNK_HEAD_SIZE bytes of its beginning: which
 * is so if it is sound. 0: it does not say. */
#define CHUNK_HEAD_SIZE 18
uint64_t chunk_peek_size(const void *head, size_t length);

/* Are these bytes all zero? */
bool chunk_is_zeros(const void *data, size_t size);

/* Where a chunk is below `chunks/`. */
void chunk_format_path(const uint8_t id[CHUNK_ID_SIZE], char ret[CHUNK_PATH_SIZE]);

/* The id in a file's name "ID.cacnk". Returns 0 or -EINVAL. */
int chunk_parse_name(const char *name, uint8_t ret[CHUNK_ID_SIZE]);
