#include "lib/buffer.h"

#include <assert.h>
#include <errno.h>

#define BUFFER_CAP_MIN 4096

void buffer_done(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){0};
}

uint8_t *buffer_reserve(struct buffer *b, size_t n)
{
	size_t cap = MAX_OF(b->cap, (size_t)BUFFER_CAP_MIN);
	uint8_t *data;

	if (b->cap - b->start - b->len >= n && b->data)
		return b->data + b->start + b->len;
	if (b->start > 0 && b->cap - b->len >= n) {
		memmove(b->data, b->data + b->start, b->len);
		b->start = 0;
		return b->data + b->len;
	}
	while (cap - b->len < n)
		cap *= 2;
	data = malloc(cap);
	if (!data)
		return NULL;
	if (b->len > 0)
		memcpy(data, b->data + b->start, b->len);
	free(b->data);
	b->data = data;
	b->start = 0;
	b->cap = cap;
	return data + b->len;
}

void buffer_commit(struct buffer *b, size_t n)
{
	assert(b->start + b->len + n <= b->cap);
	b->len += n;
}

int buffer_append(struct buffer *b, const void *data, size_t n)
{
	uint8_t *room;

	if (n == 0)
		return 0;
	room = buffer_reserve(b, n);
	if (!room)
		return -ENOMEM;
	memcpy(room, data, n);
	b->len += n;
	return 0;
}

void buffer_consume(struct buffer *b, size_t n)
{
	assert(n <= b->len);
	b->start += n;
	b->len -= n;
	if (b->len == 0)
		b->start = 0;
}

ssize_t buffer_read(struct buffer *b, int fd, size_t max)
{
	uint8_t *room = buffer_reserve(b, max);
	ssize_t n;

	if (!room)
		return -ENOMEM;
	do
		n = read(fd, room, max);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	b->len += (size_t)n;
	return n;
}

ssize_t buffer_write(struct buffer *b, int fd)
{
	ssize_t n;

	if (b->len == 0)
		return 0;
	do
		n = write(fd, buffer_head(b), b->len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	buffer_consume(b, (size_t)n);
	return n;
}
