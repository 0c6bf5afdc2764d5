/* The host's end of the agent channel: hello, calls and their answers, and the frames of streams
 * (see stream.h). Every byte from the guest is hostile: a frame that the protocol does not allow
 * ends the link. Protocol: docs/agent-protocol.md.
 *
 * Callbacks must not free the agent; whoever owns it does that from the loop. */
#pragma once

#include <systemd/sd-event.h>

#include "lib/error.h"
#include "lib/message.h"

struct agent;
struct stream;

struct agent_callbacks {
	/* The guest said hello in a version that we speak. */
	void (*on_hello)(const struct hello_guest *hello, void *userdata);
	/* The link ended: the VM is gone, or the guest broke the protocol. Called once, last;
	 * outstanding calls and streams have been told before. */
	void (*on_lost)(const char *reason, void *userdata);
};

/* Called once: with the answer (reply->error may say that the call failed), or with NULL when the
 * link was lost first. The reply's memory is the agent's. */
typedef void (*agent_reply_fn)(const struct reply *reply, void *userdata);

/* Takes `fd`. Returns 0 or negative errno. */
int agent_open(sd_event *event, int fd, const struct agent_callbacks *callbacks, void *userdata,
	struct agent **ret);
struct agent *agent_free(struct agent *a);
DEFINE_CLEANUP(struct agent *, agent_free)

/* Speaks first, to an agent that has said hello to someone else before: a clone's. Its answer is
 * its hello. Returns 0 or negative errno. */
int agent_greet(struct agent *a);

/* Sends a call (fields NULL: no payload). Returns the call's id (> 0) or negative errno (-E2BIG:
 * the message is longer than the guest accepts). */
int64_t agent_call(struct agent *a, enum frame_type type, const struct message_field *fields,
	const void *message, agent_reply_fn reply, void *userdata);

/* Forgets who asked: the call's answer will be dropped. */
void agent_cancel_call(struct agent *a, uint32_t id);

/* Sends a frame without an answer. Returns 0 or negative errno. */
int agent_send(struct agent *a, enum frame_type type, uint32_t id, enum frame_channel channel,
	const void *payload, size_t length);

/* How many bytes of stream data the link takes now without growing its queue beyond its bound. */
size_t agent_room(const struct agent *a);

/* Streams register under the id of their EXEC call; there is room for a few hundred. */
bool agent_has_stream_slot(const struct agent *a);
void agent_add_stream(struct agent *a, uint32_t id, struct stream *stream);
void agent_remove_stream(struct agent *a, struct stream *stream);

/* Bytes of stream data that crossed the link so far. */
void agent_get_traffic(const struct agent *a, uint64_t *ret_to_guest, uint64_t *ret_from_guest);
