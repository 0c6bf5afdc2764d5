/* A chunk is some 80 KiB, and zstd's own memory more than that, so each thread keeps its contexts
 * for the next chunk. */
#include "depot/chunk.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <zstd.h>

/* Measured on the disk of a Debian image (docs/distribution.md): beyond level 3 the time rises much
 * faster than the bytes fall. */
#define CHUNK_LEVEL 3

struct contexts {
	ZSTD_CCtx *pack;
	ZSTD_DCtx *unpack;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;
static _Thread_local struct contexts *ours;

static void contexts_free(void *contexts)
{
	struct contexts *c = contexts;

	ZSTD_freeCCtx(c->pack);
	ZSTD_freeDCtx(c->unpack);
	free(c);
}

static void key_new(void)
{
	key_error = pthread_key_create(&key, contexts_free);
}

/* Returns the thread's own contexts, which its end frees, or NULL. */
static struct contexts *contexts_get(void)
{
	struct contexts *c;

	if (ours)
		return ours;
	if (pthread_once(&once, key_new) != 0 || key_error != 0)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (c && pthread_setspecific(key, c) != 0) {
		free(c);
		return NULL;
	}
	ours = c;
	return c;
}

static ZSTD_CCtx *context_for_packing(void)
{
	struct contexts *c = contexts_get();

	if (c && !c->pack)
		c->pack = ZSTD_createCCtx();
	return c ? c->pack : NULL;
}

static ZSTD_DCtx *context_for_unpacking(void)
{
	struct contexts *c = contexts_get();

	if (c && !c->unpack)
		c->unpack = ZSTD_createDCtx();
	return c ? c->unpack : NULL;
}

int chunk_id(const void *data, size_t size, uint8_t ret[CHUNK_ID_SIZE])
{
	int r = digest_raw(data, size, ret);

	if (r < 0)
		memset(ret, 0, CHUNK_ID_SIZE);
	return r;
}

int chunk_pack(const void *data, size_t size, struct buffer *ret)
{
	ZSTD_CCtx *context;
	uint8_t *room;
	size_t n;

	if (size > CHUNK_SIZE_MAX)
		return -EINVAL;
	context = context_for_packing();
	room = context ? buffer_reserve(ret, ZSTD_compressBound(size)) : NULL;
	if (!room)
		return -ENOMEM;
	n = ZSTD_compressCCtx(context, room, ZSTD_compressBound(size), data, size, CHUNK_LEVEL);
	if (ZSTD_isError(n))
		return -ENOMEM;
	buffer_commit(ret, n);
	return 0;
}

/* Nothing else is accepted: neither old formats, whose decoders nobody looks after, nor anything
 * behind the frame. */
static bool is_one_frame(const void *packed, size_t length)
{
	static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};

	return length > sizeof(magic) && memcmp(packed, magic, sizeof(magic)) == 0 &&
	       ZSTD_findFrameCompressedSize(packed, length) == length;
}

/* In one call and into the caller's memory: zstd then needs no window of its own, whatever size the
 * frame asks for, and stops where the room ends. */
static int unpack(const void *packed, size_t length, void *data, size_t room, size_t *ret_size,
	struct error *err)
{
	ZSTD_DCtx *context = context_for_unpacking();
	size_t n;

	if (!context)
		return fail(err, -ENOMEM, "out of memory");
	if (!is_one_frame(packed, length))
		return fail(err, -EBADMSG, "it is not one frame of zstd");
	n = ZSTD_decompressDCtx(context, data, room, packed, length);
	if (ZSTD_isError(n))
		return fail(err, -EBADMSG, "it does not decompress to %zu bytes: %s", room,
			ZSTD_getErrorName(n));
	*ret_size = n;
	return 0;
}

static int check_id(
	const uint8_t id[CHUNK_ID_SIZE], const void *data, size_t size, struct error *err)
{
	uint8_t is[CHUNK_ID_SIZE];
	char hex[DIGEST_HEX_SIZE];
	int r = chunk_id(data, size, is);

	if (r < 0)
		return fail(err, r, "SHA-256 cannot be computed");
	if (memcmp(is, id, CHUNK_ID_SIZE) == 0)
		return 0;
	digest_format(is, hex);
	return fail(err, -EBADMSG, "its SHA-256 is %s", hex);
}

int chunk_unpack(const uint8_t id[CHUNK_ID_SIZE], const void *packed, size_t length, void *data,
	size_t size, struct error *err)
{
	size_t n = 0;
	int r;

	if (size > CHUNK_SIZE_MAX || length > CHUNK_PACKED_MAX)
		return fail(err, -EBADMSG, "a chunk of %zu bytes, %zu packed, is too large", size,
			length);
	r = unpack(packed, length, data, size, &n, err);
	if (r == 0 && n != size)
		r = fail(err, -EBADMSG, "it decompresses to %zu bytes instead of %zu", n, size);
	return r < 0 ? r : check_id(id, data, size, err);
}

int chunk_check(const uint8_t id[CHUNK_ID_SIZE], const void *packed, size_t length, void *data,
	size_t *ret_size, struct error *err)
{
	int r;

	if (length > CHUNK_PACKED_MAX)
		return fail(err, -EBADMSG, "a chunk of %zu bytes, packed, is too large", length);
	r = unpack(packed, length, data, CHUNK_SIZE_MAX, ret_size, err);
	return r < 0 ? r : check_id(id, data, *ret_size, err);
}

uint64_t chunk_peek_size(const void *head, size_t length)
{
	unsigned long long size = ZSTD_getFrameContentSize(head, length);

	return size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ? 0 : size;
}

bool chunk_is_zeros(const void *data, size_t size)
{
	const uint8_t *bytes = data;

	/* Equal to itself, one byte further on. */
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

void chunk_format_path(const uint8_t id[CHUNK_ID_SIZE], char ret[CHUNK_PATH_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_format(id, hex);
	snprintf(ret, CHUNK_PATH_SIZE, "%.4s/%s.cacnk", hex, hex);
}

int chunk_parse_name(const char *name, uint8_t ret[CHUNK_ID_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	if (strnlen(name, CHUNK_PATH_SIZE) < DIGEST_HEX_SIZE ||
		!streq(name + DIGEST_HEX_SIZE - 1, ".cacnk"))
		return -EINVAL;
	memcpy(hex, name, DIGEST_HEX_SIZE - 1);
	hex[DIGEST_HEX_SIZE - 1] = '\0';
	return digest_parse(hex, ret);
}
