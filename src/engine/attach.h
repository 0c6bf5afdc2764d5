/* The client's side of a VM's control socket (see control.h). */
#pragma once

#include <jansson.h>

#include "engine/caller.h"
#include "lib/error.h"

/* Connects to the socket. Returns a descriptor or negative errno; a VM that is so busy that it does
 * not take connections is -EAGAIN after two seconds. */
int attach_open(const char *socket_path, struct error *err);

/* Sends {"op": op} and waits (at most 10 s) for the answer. *ret_fd (may be NULL) gets the
 * descriptor that came with it, or -1. Returns 0 and *ret for json_decref(), or negative errno with
 * the VM's own words where it refused. */
int attach_call(int socket, const char *op, json_t **ret, int *ret_fd, struct error *err);

/* The two halves of attach_call(), to ask several at once: the answer is waited for until the
 * deadline (see lib/deadline.h), and -ETIMEDOUT if it does not come. */
int attach_ask(int socket, const char *op, struct error *err);
int attach_answer(int socket, uint64_t deadline, json_t **ret, int *ret_fd, struct error *err);

/* A command to run in a VM that runs already. */
struct attach_command {
	const char *const *argv;
	const char *const *env; /* complete */
	const char *workdir;
	bool tty;
	bool wait; /* for a VM that is still starting, and at the last command's end for the VM's */
	const uint32_t *cpus; /* of the VM that it runs on; none: all */
	size_t cpu_count;
	const int *fds; /* its stdin, stdout and stderr; NULL: ours */
	bool patient;   /* SIGTERM is passed on each time, without a grace of ours */
	bool *ret_last; /* set if it was the last command that the VM was there for; may be NULL */
};

/* Runs it with our stdin, stdout and stderr, unless others are given; signals are passed on.
 * Returns its exit status as `wnodes run` would, or negative errno. */
int attach_exec(int socket, const struct attach_command *command, struct error *err);
