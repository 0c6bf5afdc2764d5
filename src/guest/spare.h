/* A process that waits for the command that it is to become.
 *
 * A template has one, so that the first command of each clone finds its process, session and pipes
 * made: under emulation fork(2) and what goes with it are a seventh of what a clone executes.
 */
#pragma once

#include "guest/process.h"

struct spare {
	struct process process; /* pid 0: there is none */
	int request_fd;
};

/* Forks it; nothing is done if there is one. Returns 0 or negative errno. */
int spare_start(struct spare *s);

/* Makes it run the command whose EXEC has this payload, `request` decoded. Returns 0, or negative
 * errno if the command needs a process of its own: there is no spare one, or not for a terminal or
 * so long a message. There is none afterwards in any case. */
int spare_take(struct spare *s, const struct frame *f, const struct exec_request *request,
	struct process *ret);

/* A child was reaped; false if it is not this one. */
bool spare_on_exit(struct spare *s, pid_t pid);

void spare_end(struct spare *s);
