/* Streams: the processes that EXEC started, with their input and output.
 *
 * starting -> running -> exited -> gone. The EXEC's REPLY goes out at the first arrow, EXIT at the
 * last one, when all output has been sent.
 */
#pragma once

#include "guest/input.h"
#include "guest/output.h"
#include "guest/pollset.h"
#include "guest/process.h"

struct rusage;

enum stream_state { STREAM_STARTING, STREAM_RUNNING, STREAM_EXITED };

#define STREAM_OUTPUTS 2

struct stream {
	struct stream *next;
	uint32_t id;
	enum stream_state state;
	struct process process;
	int status_slot;
	struct input input;
	struct output outputs[STREAM_OUTPUTS];
	struct exit_status status;
};

struct streams {
	struct stream *first;
	size_t count;
};

void streams_done(struct streams *s);
struct stream *streams_find(struct streams *s, uint32_t id);

/* May there be a stream with this id? Returns 0, -EEXIST or -EAGAIN. */
int streams_check(struct streams *s, uint32_t id, struct error *err);

/* Makes a stream of a process that was started; the descriptors are the stream's from then on.
 * Returns 0: REPLY follows when it runs; or negative errno. */
int streams_adopt(struct streams *s, uint32_t id, const struct process *process, bool streamed,
	struct error *err);

/* Before and after poll(2). Serving returns 0, or negative errno that ends the link. */
void streams_poll(struct streams *s, const struct link *link, struct pollset *set, int64_t now);
int streams_serve(struct streams *s, struct link *link, const struct pollset *set, int64_t now);

/* A child was reaped; false if it is none of a stream. */
bool streams_on_exit(
	struct streams *s, pid_t pid, int status, const struct rusage *usage, int64_t now);

/* The frames of a stream. Return 0 or -EPROTO; an unknown id is no error, as the stream may have
 * ended while the frame was under way. */
int stream_on_data(struct streams *s, const struct frame *f);
int stream_on_credit(struct streams *s, const struct frame *f);
int stream_on_signal(struct streams *s, const struct frame *f);
int stream_on_resize(struct streams *s, const struct frame *f);

/* Sends the ends of file of exited processes although data is left: nobody grants credit. */
int streams_give_up(struct streams *s, struct link *link);
