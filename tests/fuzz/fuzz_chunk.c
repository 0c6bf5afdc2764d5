/* A packed chunk of anybody's. The first two bytes say which size is promised, and whether its id
 * is that of what comes out: then all of it must be right, else all of it must be refused. Never is
 * more written than was promised. */
#include <assert.h>
#include <zstd.h>

#include "depot/chunk.h"

#define GUARD 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What zstd itself makes of it, up to the promised size. */
static bool unpack_by_zstd(const uint8_t *packed, size_t length, uint8_t *out, size_t size)
{
	size_t n = ZSTD_decompress(out, size, packed, length);

	return !ZSTD_isError(n) && n == size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t id[CHUNK_ID_SIZE] = {0};
	struct error err = {0};
	size_t promised, length;
	uint8_t *out, *theirs;
	bool sound = false;
	int r;

	if (size < 2)
		return 0;
	promised = (size_t)(data[0] & 0x7f) << 8 | data[1];
	length = size - 2;
	out = malloc(promised + GUARD);
	theirs = malloc(promised + 1);
	assert(out && theirs);
	memset(out + promised, 0x5a, GUARD);
	if (data[0] & 0x80) {
		sound = unpack_by_zstd(data + 2, length, theirs, promised);
		if (sound)
			assert(chunk_id(theirs, promised, id) == 0);
	}
	r = chunk_unpack(id, data + 2, length, out, promised, &err);
	assert(r == 0 || (err.text[0] && err.code == r));
	assert(sound || r < 0);
	assert(r < 0 || memcmp(out, theirs, promised) == 0);
	for (size_t i = 0; i < GUARD; i++)
		assert(out[promised + i] == 0x5a);
	free(out);
	free(theirs);
	return 0;
}
