#include "controller/piece.h"

#include <errno.h>

#include "lib/wire.h"

int piece_next(
	const void *body, size_t body_length, size_t *at, struct piece *ret, struct error *err)
{
	const uint8_t *head = (const uint8_t *)body + *at;
	size_t left = body_length - *at;

	if (left == 0)
		return 0;
	if (left < PIECE_HEAD_SIZE)
		return fail(err, -EBADMSG, "it ends in the middle of a chunk");
	memcpy(ret->id, head, CHUNK_ID_SIZE);
	ret->size = le32_load(head + CHUNK_ID_SIZE);
	ret->length = le32_load(head + CHUNK_ID_SIZE + 4);
	ret->packed = head + PIECE_HEAD_SIZE;
	if (ret->size == 0 || ret->size > CHUNK_SIZE_MAX || ret->length > CHUNK_PACKED_MAX)
		return fail(
			err, -EBADMSG, "a chunk is empty, or larger than %d bytes", CHUNK_SIZE_MAX);
	if (ret->length > left - PIECE_HEAD_SIZE)
		return fail(err, -EBADMSG, "it ends in the middle of a chunk");
	*at += PIECE_HEAD_SIZE + ret->length;
	return 1;
}
