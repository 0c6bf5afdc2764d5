/* A stream's stdin: from the host, through a bounded buffer, to the process. */
#pragma once

#include "guest/link.h"

struct input {
	int fd; /* of the pipe or terminal; -1: none, or closed */
	bool tty;
	bool end;        /* the host has sent end of file */
	bool stopped;    /* nothing is written any more: what comes is dropped */
	uint32_t credit; /* that the host still has */
	uint32_t owed;   /* taken by the process, not yet granted again */
	struct buffer data;
	int slot; /* in the poll set */
};

void input_init(struct input *in, int fd, bool tty, bool streamed);

/* Takes one DATA frame's payload. Returns 0, or -EPROTO if the host had not so much credit. */
int input_put(struct input *in, const struct frame *f);

/* Writes what the process takes if it is `ready` to, and grants the host what was taken. Returns 0
 * or -ENOMEM. */
int input_serve(struct input *in, bool ready, struct link *link, uint32_t id);

/* Nobody will read any more: what comes from now on is dropped. */
void input_close(struct input *in);
