/* The batched question of one node to another, or to an origin, "which chunks of this index do you
 * give me?", and its answer. Who answers chooses: what it has sent least, so that what is rare is
 * spread first without anybody telling what it has.
 *
 * POST /pick has this body, all numbers little-endian and of 32 bits:
 *
 *   "WNP1", SHA-256 of the index (32 bytes), bytes that are wanted at most, first, count,
 *   a bit for each of the chunks first to first + count - 1, the lowest bit of a byte first: set
 *   where the asker lacks the chunk and has not asked anybody else for it
 *
 * and is answered with 200 and
 *
 *   "WNA1", n, n times the chunk's number in the index and its length as it follows,
 *   the chunks, each packed as in a chunk store
 *
 * or 204: there is nothing to give; 404: the index is not known; 503 with Retry-After: all slots
 * are taken. Both sides take the other for hostile. */
#pragma once

#include "depot/chunk.h"

/* Chunks that a question is about, at most: what is larger is asked for in windows. */
#define PICK_WINDOW 524288U

#define PICK_HEAD_SIZE    48U
#define PICK_REQUEST_MAX  (PICK_HEAD_SIZE + PICK_WINDOW / 8)
#define PICK_BYTES_MAX    (1024U * 1024) /* of chunks, before the last one is added */
#define PICK_CHUNKS_MAX   256U           /* in an answer */
#define PICK_ANSWER_HEAD  8U
#define PICK_ANSWER_ROW   8U
#define PICK_ANSWER_MAX   (PICK_BYTES_MAX + CHUNK_PACKED_MAX)
#define PICK_RESPONSE_MAX (PICK_ANSWER_HEAD + PICK_CHUNKS_MAX * PICK_ANSWER_ROW + PICK_ANSWER_MAX)

struct pick {
	uint8_t index[CHUNK_ID_SIZE]; /* SHA-256 of the index's file */
	uint32_t bytes;               /* that are wanted at most, 1 to PICK_BYTES_MAX */
	uint32_t first, count;
	const uint8_t *wanted; /* (count + 7) / 8 bytes; when parsed, within what was parsed */
};

/* Appends the question to `ret`. Returns 0 or -ENOMEM. */
int pick_format(const struct pick *p, struct buffer *ret);

/* Returns 0, or -EBADMSG. More bytes than PICK_BYTES_MAX may be asked for: they are not given. */
int pick_parse(const void *data, size_t length, struct pick *ret);

/* Is this chunk, by its number in the index, asked for? */
bool pick_wants(const struct pick *p, uint32_t chunk);

/* A chunk in an answer. */
struct pick_row {
	uint32_t chunk, length;
};

/* Appends what stands before the chunks. Returns 0 or -ENOMEM. */
int pick_format_answer(const struct pick_row *rows, size_t count, struct buffer *ret);

/* Reads an answer as it comes in. Zeroed, but for `pick`, it is ready. */
struct pick_reader {
	const struct pick *pick; /* what was asked; borrowed */
	struct buffer bytes;     /* what has come of the head, or of the chunk that is next */
	struct pick_row rows[PICK_CHUNKS_MAX];
	size_t count, done;   /* rows that there are, chunks that have been read */
	bool has_rows, given; /* `given`: the bytes are those of a chunk that was handed out */
};

/* Takes bytes, as many as are good for one step; *ret_used of them were. Returns
 *   PICK_MORE       all were used, more are needed
 *   PICK_ROWS       the rows are known
 *   PICK_CHUNK      rows[done - 1] is whole: its bytes are at buffer_head(&r->bytes), until the
 *                   next call
 *   -EBADMSG        this is no answer to what was asked; -ENOMEM */
enum pick_step { PICK_MORE, PICK_ROWS, PICK_CHUNK };
int pick_read(struct pick_reader *r, const void *data, size_t length, size_t *ret_used);

/* Has all come? */
bool pick_reader_is_whole(const struct pick_reader *r);
void pick_reader_done(struct pick_reader *r);
