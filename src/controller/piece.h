/* A body of chunks as publishers send them: for each its id (32 bytes), its size and its length
 * when packed (4 bytes each, little-endian), and the packed bytes. It comes from anybody. */
#pragma once

#include "depot/chunk.h"

#define PIECE_HEAD_SIZE 40

/* One of those that are sent; `packed` is within the body. */
struct piece {
	uint8_t id[CHUNK_ID_SIZE];
	uint32_t size, length;
	const uint8_t *packed;
};

/* The next one at *at, which is moved behind it. Returns 1, 0 at the end, or -EBADMSG. That it is
 * what its id says is not looked at. */
int piece_next(
	const void *body, size_t body_length, size_t *at, struct piece *ret, struct error *err);
