/* Frames of the agent protocol: the only thing that crosses the channel between host and guest.
 *
 *   offset  size  field (little endian)
 *        0     4  length of the payload in bytes
 *        4     2  type (enum frame_type)
 *        6     2  channel (enum frame_channel; 0 where the type has none)
 *        8     4  id: of the stream or the call; 0 for the link itself
 *       12     n  payload
 *
 * docs/agent-protocol.md says which frame may follow which. Each side treats the other's bytes as
 * hostile: a length above the receiver's limit or an unknown type ends the link.
 */
#pragma once

#include "lib/buffer.h"

#define FRAME_HEADER_SIZE 12

/* What one DATA frame carries at most: large enough to amortise the header, small enough that
 * several streams share the link fairly. */
#define FRAME_DATA_MAX (32 * 1024)

/* Guest to host: nothing is longer than a DATA frame or a FILE_READ answer. */
#define FRAME_HOST_ACCEPTS_MAX (64 * 1024)

/* Host to guest: an EXEC carries a whole argument list and environment (Linux allows 2 MiB). */
#define FRAME_GUEST_ACCEPTS_MAX (4 * 1024 * 1024)

/* Bytes that a sender may have under way on one channel of one stream before the receiver must
 * have granted more with CREDIT. */
#define FRAME_WINDOW (256 * 1024)

enum frame_type {
	FRAME_HELLO = 1, /* both ways, first */
	FRAME_REPLY,     /* guest: the answer to the call with this id */
	/* calls, host to guest, each answered by one REPLY */
	FRAME_IDENTITY,
	FRAME_ACCOUNT,
	FRAME_MOUNT,
	FRAME_NETWORK,
	FRAME_FILE_WRITE,
	FRAME_FILE_READ,
	FRAME_STATISTICS,
	FRAME_PROBE,
	FRAME_CLOCK,
	FRAME_SHUTDOWN,
	FRAME_EXEC, /* its id is the stream's from then on */
	/* streams */
	FRAME_DATA,   /* both ways; no payload = end of file */
	FRAME_CREDIT, /* both ways */
	FRAME_SIGNAL, /* host to guest */
	FRAME_RESIZE, /* host to guest */
	FRAME_EXIT,   /* guest to host, last frame of a stream */
	/* calls that came later: the features in an agent's HELLO say whether it knows them */
	FRAME_QUIESCE,
	FRAME_TYPE_END
};

enum frame_channel { FRAME_STDIN, FRAME_STDOUT, FRAME_STDERR, FRAME_CHANNELS };

struct frame {
	uint32_t length;
	uint16_t type;
	uint16_t channel;
	uint32_t id;
	const uint8_t *payload; /* points into the buffer that was parsed */
};

/* Finds one whole frame at the start of `in`. The caller consumes
 * FRAME_HEADER_SIZE + frame.length bytes when it is done with the payload.
 * Returns 1 if *ret is filled, 0 if more bytes are needed, -EPROTO for an impossible frame (payload
 * above max_length, unknown type, channel out of range). */
int frame_parse(const struct buffer *in, uint32_t max_length, struct frame *ret);

/* Appends a frame to `out`. Returns 0 or -ENOMEM. */
int frame_append(struct buffer *out, enum frame_type type, uint32_t id, enum frame_channel channel,
	const void *payload, size_t length);

/* Writes a header for a payload of `length` bytes that the caller has put behind it. */
void frame_write_header(uint8_t header[FRAME_HEADER_SIZE], enum frame_type type, uint32_t id,
	enum frame_channel channel, uint32_t length);
