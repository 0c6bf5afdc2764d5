/* Chunks as publishers send them to a controller: whatever comes, each piece is within the body,
 * one behind the other, and what is unpacked is what its id says. */
#include <assert.h>
#include <errno.h>

#include "controller/piece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t room[CHUNK_SIZE_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = {0};
	struct piece p;
	size_t at = 0, before = 0;
	int r;

	while ((r = piece_next(data, size, &at, &p, &err)) > 0) {
		uint8_t id[CHUNK_ID_SIZE];

		assert(at <= size && at == before + PIECE_HEAD_SIZE + p.length);
		assert(p.packed == data + before + PIECE_HEAD_SIZE);
		assert(p.size > 0 && p.size <= CHUNK_SIZE_MAX && p.length <= CHUNK_PACKED_MAX);
		if (chunk_unpack(p.id, p.packed, p.length, room, p.size, &err) == 0)
			assert(chunk_id(room, p.size, id) == 0 &&
				memcmp(id, p.id, sizeof(id)) == 0);
		before = at;
	}
	assert(r == 0 ? at == size : r == -EBADMSG);
	return 0;
}
