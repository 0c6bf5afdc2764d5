/* The channel to the host: whole frames in, bounded queue of frames out.
 *
 * The port reports "hung up" before the host side ever connected as well as after it has gone; only
 * the second ends the link.
 */
#pragma once

#include "lib/error.h"
#include "lib/message.h"

#define LINK_PORT_NAME "org.wnodes.agent.0"

enum link_state {
	LINK_WAIT,  /* the host side is not connected yet */
	LINK_HELLO, /* connected, our HELLO is out, the host's has not come */
	LINK_OPEN,  /* both have agreed on a version */
};

struct link {
	int fd;
	enum link_state state;
	struct buffer in, out;
};

/* Opens the virtio-serial port, waiting for it at most `wait_ms`; or `port`: a path, or "fd:N".
 * Returns 0 or negative errno. */
int link_init(struct link *l, const char *port, unsigned wait_ms, struct error *err);
void link_done(struct link *l);

/* Is the host side connected now? */
bool link_is_connected(const struct link *l);

/* Reads what has come, up to a bound. Returns 0, -EPIPE when the host is gone, or -ENOMEM. */
int link_receive(struct link *l);

/* Writes what the port takes. Returns 0, -EPIPE when the host is gone, or -ENOMEM. */
int link_flush(struct link *l);

/* Room for data of streams: false while enough is queued already. */
bool link_has_room(const struct link *l);

/* So much is queued that no further frame of the host is served until it reads. */
bool link_is_full(const struct link *l);

/* Makes room for a DATA frame of at most `max` bytes; the caller puts the payload where the
 * returned pointer points and then commits. NULL when out of memory. */
uint8_t *link_reserve_data(struct link *l, size_t max);
void link_commit_data(struct link *l, uint32_t id, enum frame_channel channel, size_t length);

/* Queue one frame. Return 0 or -ENOMEM. */
int link_send(struct link *l, enum frame_type type, uint32_t id, enum frame_channel channel,
	const struct message_field *fields, const void *message);
int link_send_eof(struct link *l, uint32_t id, enum frame_channel channel);
int link_send_reply(
	struct link *l, uint32_t id, const struct error *err, const struct buffer *body);

/* Gives memory back that a large frame had needed. */
void link_trim(struct link *l);
