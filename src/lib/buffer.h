/* A queue of bytes in one piece of memory: append at the end, consume at the start. */
#pragma once

#include "lib/base.h"

struct buffer {
	uint8_t *data; /* first unread byte is data[start] */
	size_t start;
	size_t len;
	size_t cap;
};

/* Frees the memory and leaves an empty buffer, which may be used again. */
void buffer_done(struct buffer *b);

static inline const uint8_t *buffer_head(const struct buffer *b)
{
	return b->data ? b->data + b->start : NULL;
}

/* Makes room for `n` more bytes and returns where to write them, or NULL when out of memory. */
uint8_t *buffer_reserve(struct buffer *b, size_t n);

/* Declares `n` bytes written into the room that buffer_reserve() gave. */
void buffer_commit(struct buffer *b, size_t n);

/* Returns 0 or -ENOMEM. */
int buffer_append(struct buffer *b, const void *data, size_t n);

/* Drops `n` bytes, at most len, from the start. */
void buffer_consume(struct buffer *b, size_t n);

/* Reads at most `max` bytes from `fd`. Returns their number, 0 at end of file, or negative errno
 * (-EAGAIN where a non-blocking descriptor has nothing). */
ssize_t buffer_read(struct buffer *b, int fd, size_t max);

/* Writes what the descriptor takes and consumes it. Returns the number or negative errno. */
ssize_t buffer_write(struct buffer *b, int fd);
