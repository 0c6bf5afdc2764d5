/* One process in the guest, and its three byte streams with flow control. */
#pragma once

#include "vm/agent.h"

struct stream_callbacks {
	/* EXEC was answered: error 0, or the guest's errno and the step that failed; after an error
	 * nothing else comes. */
	void (*on_started)(int error, const char *reason, void *userdata);
	/* Output; length 0 is end of file. The receiver grants the bytes with stream_grant() when
	 * it has got rid of them: at most FRAME_WINDOW bytes of a channel are under way. */
	void (*on_data)(
		enum frame_channel channel, const uint8_t *data, size_t length, void *userdata);
	/* stream_room() is above zero again. */
	void (*on_room)(void *userdata);
	/* The process ended and all its output was delivered; NULL: the link was lost. Nothing
	 * comes afterwards. */
	void (*on_exit)(const struct exit_status *status, void *userdata);
};

/* Starts a process. Returns 0 or negative errno. */
int stream_exec(struct agent *a, const struct exec_request *request,
	const struct stream_callbacks *callbacks, void *userdata, struct stream **ret);

/* A process that still runs is killed. */
struct stream *stream_free(struct stream *s);
DEFINE_CLEANUP(struct stream *, stream_free)

/* How many bytes of stdin may be sent now. */
size_t stream_room(const struct stream *s);

/* Sends stdin, at most stream_room() bytes; length 0 ends it. Returns 0 or negative errno. */
int stream_send(struct stream *s, const void *data, size_t length);

/* Lets the guest send `length` more bytes on this channel. */
int stream_grant(struct stream *s, enum frame_channel channel, size_t length);

/* `group`: to the process's whole (foreground) group, as a terminal would. */
int stream_signal(struct stream *s, int signo, bool group);
int stream_resize(struct stream *s, unsigned int rows, unsigned int columns);

/* For the agent: a frame for this stream (returns what is wrong with it, or NULL), room on the
 * link, and the link's end. */
const char *stream_on_frame(struct stream *s, const struct frame *f);
void stream_on_room(struct stream *s);
void stream_lose(struct stream *s);
