/* The half of a process that runs between fork and exec. */
#pragma once

#include "lib/error.h"
#include "lib/message.h"

/* The process's ends of what struct process holds the agent's ends of; -1 where there is none. */
struct exec {
	int status_fd; /* takes a struct error if the program cannot be started */
	int in, out, err;
	struct error error;
};

#define EXEC_NONE                                               \
	{                                                       \
		.status_fd = -1, .in = -1, .out = -1, .err = -1 \
	}

void exec_close(struct exec *x);

/* What every command needs: a session, its three descriptors, no protection from the out-of-memory
 * killer. With `tty`, `in` is the terminal for everything; else a missing `in` is /dev/null.
 * Returns 0 or negative errno with `error` set. */
int exec_settle(struct exec *x, bool tty);

/* Takes the input away from a settled process. Returns 0 or negative errno with `error` set. */
int exec_close_input(struct exec *x);

/* Becomes the program. Does not return: what fails is written to `status_fd`. */
void __attribute__((noreturn)) exec_run(struct exec *x, const struct exec_request *request);

/* Ends the process because of `error`, in the same way. */
void __attribute__((noreturn)) exec_fail(struct exec *x);
