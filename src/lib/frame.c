#include "lib/frame.h"

#include <errno.h>

#include "lib/wire.h"

int frame_parse(const struct buffer *in, uint32_t max_length, struct frame *ret)
{
	const uint8_t *p = buffer_head(in);

	if (in->len < FRAME_HEADER_SIZE)
		return 0;
	*ret = (struct frame){
		.length = le32_load(p),
		.type = le16_load(p + 4),
		.channel = le16_load(p + 6),
		.id = le32_load(p + 8),
		.payload = p + FRAME_HEADER_SIZE,
	};
	if (ret->length > max_length || ret->channel >= FRAME_CHANNELS)
		return -EPROTO;
	if (ret->type < FRAME_HELLO || ret->type >= FRAME_TYPE_END)
		return -EPROTO;
	return in->len - FRAME_HEADER_SIZE >= ret->length;
}

void frame_write_header(uint8_t header[FRAME_HEADER_SIZE], enum frame_type type, uint32_t id,
	enum frame_channel channel, uint32_t length)
{
	le32_store(header, length);
	le16_store(header + 4, (uint16_t)type);
	le16_store(header + 6, (uint16_t)channel);
	le32_store(header + 8, id);
}

int frame_append(struct buffer *out, enum frame_type type, uint32_t id, enum frame_channel channel,
	const void *payload, size_t length)
{
	uint8_t *room = buffer_reserve(out, FRAME_HEADER_SIZE + length);

	if (!room)
		return -ENOMEM;
	frame_write_header(room, type, id, channel, (uint32_t)length);
	if (length > 0)
		memcpy(room + FRAME_HEADER_SIZE, payload, length);
	buffer_commit(out, FRAME_HEADER_SIZE + length);
	return 0;
}
