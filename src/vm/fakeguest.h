/* The guest's end of the agent channel, moved by hand: for tests. */
#pragma once

#include <systemd/sd-event.h>

#include "lib/message.h"

struct fakeguest {
	sd_event *event; /* the host's loop */
	int fd;
	struct buffer in, out;
	size_t taken; /* bytes at the start of `in` that fakeguest_take() has returned */
	bool deaf;    /* does not read */
	bool gone;    /* the host has closed its end */
};

/* Makes the channel and an event loop. Returns the host's end, for agent_open(). */
int fakeguest_start(struct fakeguest *g);
void fakeguest_stop(struct fakeguest *g);

/* Lets both ends work until neither has anything to do. */
void fakeguest_turn(struct fakeguest *g);

/* Send a frame, and let both ends work. */
void fakeguest_send(struct fakeguest *g, enum frame_type type, uint32_t id,
	enum frame_channel channel, const void *payload, size_t length);
void fakeguest_tell(struct fakeguest *g, enum frame_type type, uint32_t id,
	enum frame_channel channel, const struct message_field *fields, const void *message);
void fakeguest_send_bytes(struct fakeguest *g, const void *bytes, size_t length);

/* What a good agent sends first, and the answer to its hello is taken. */
void fakeguest_greet(struct fakeguest *g);
void fakeguest_reply(struct fakeguest *g, uint32_t id, int error, const char *reason);
void fakeguest_exit(struct fakeguest *g, uint32_t id, int code);

/* The next frame of the host, valid until the next call; false if none has come. */
bool fakeguest_take(struct fakeguest *g, struct frame *ret);

/* As above; a test fails unless there is one of this type. */
struct frame fakeguest_expect(struct fakeguest *g, enum frame_type type);
