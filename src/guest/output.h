/* A stream's stdout or stderr: from the process to the host, as far as the host granted credit. */
#pragma once

#include "guest/link.h"

/* How long an ended process's pipe may stay empty before it is closed. */
#define OUTPUT_IDLE_MS 100

struct output {
	int fd; /* -1 once its end of file is sent */
	enum frame_channel channel;
	uint32_t credit;      /* that we still have */
	int slot;             /* in the poll set */
	bool ready;           /* may have data now */
	uint64_t left;        /* bytes in the pipe when the process ended, not yet read */
	int64_t idle_ms;      /* since when an ended process's pipe gave nothing; 0 = it did */
	int64_t last_call_ms; /* when `left` was used up */
};

void output_init(struct output *out, int fd, enum frame_channel channel);

/* May be read now: open, with credit, and the link has room. */
bool output_is_open(const struct output *out, const struct link *link);

/* Moves one frame's worth of data, or the end of file. Returns 0 or negative errno. */
int output_serve(struct output *out, struct link *link, uint32_t id);

/* The process has ended; what it left in the pipe is still to be sent. */
void output_on_exit(struct output *out, int64_t now);

/* After the process's end: closes a pipe that something in the background keeps open. Returns the
 * time at which to look again, 0 if not at all, or negative errno. */
int64_t output_tick(struct output *out, struct link *link, uint32_t id, int64_t now);

/* Sends the end of file whether or not the pipe is empty. Returns 0 or negative errno. */
int output_close(struct output *out, struct link *link, uint32_t id);
