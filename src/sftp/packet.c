#include "sftp/packet.h"

#include <endian.h>

static bool packet_take(struct packet *p, void *ret, size_t size)
{
	if (p->length < size) {
		p->bad = true;
		p->length = 0;
		memset(ret, 0, size);
		return false;
	}
	memcpy(ret, p->data, size);
	p->data += size;
	p->length -= size;
	return true;
}

uint32_t packet_get_u32(struct packet *p)
{
	uint32_t value;

	packet_take(p, &value, sizeof(value));
	return be32toh(value);
}

uint64_t packet_get_u64(struct packet *p)
{
	uint64_t value;

	packet_take(p, &value, sizeof(value));
	return be64toh(value);
}

struct packet packet_get_bytes(struct packet *p)
{
	struct packet bytes = {.length = packet_get_u32(p)};

	if (bytes.length > p->length) {
		p->bad = true;
		p->length = bytes.length = 0;
	}
	bytes.data = p->data;
	p->data += bytes.length;
	p->length -= bytes.length;
	return bytes;
}

void packet_get_string(struct packet *p, char *ret, size_t size)
{
	struct packet bytes = packet_get_bytes(p);

	ret[0] = '\0';
	if (bytes.length >= size || (bytes.length > 0 && memchr(bytes.data, 0, bytes.length))) {
		p->bad = true;
		return;
	}
	if (bytes.length > 0)
		memcpy(ret, bytes.data, bytes.length);
	ret[bytes.length] = '\0';
}

/* Without memory there is nothing that could be answered: the client sees the end. */
static void packet_put(struct buffer *out, const void *data, size_t length)
{
	if (buffer_append(out, data, length) < 0)
		abort();
}

void packet_put_u32(struct buffer *out, uint32_t value)
{
	uint32_t bytes = htobe32(value);

	packet_put(out, &bytes, sizeof(bytes));
}

void packet_put_u64(struct buffer *out, uint64_t value)
{
	uint64_t bytes = htobe64(value);

	packet_put(out, &bytes, sizeof(bytes));
}

void packet_put_bytes(struct buffer *out, const void *data, size_t length)
{
	packet_put_u32(out, (uint32_t)length);
	packet_put(out, data, length);
}

void packet_put_string(struct buffer *out, const char *text)
{
	packet_put_bytes(out, text, strlen(text));
}

size_t packet_begin(struct buffer *out, enum packet_type type, uint32_t id)
{
	uint8_t byte = (uint8_t)type;
	size_t begin = out->len;

	packet_put_u32(out, 0);
	packet_put(out, &byte, 1);
	packet_put_u32(out, id);
	return begin;
}

void packet_end(struct buffer *out, size_t begin)
{
	uint32_t length = htobe32((uint32_t)(out->len - begin - sizeof(length)));

	memcpy(out->data + out->start + begin, &length, sizeof(length));
}
