/* Starting a process for EXEC, with its pipes or its terminal. */
#pragma once

#include "guest/exec.h"

struct process {
	pid_t pid;
	int status_fd; /* gives a struct error if the program could not be started, else nothing */
	int in;        /* our ends, non-blocking; -1 where there is none */
	int out;
	int err;
	bool tty; /* `in` and `out` are the master of a pseudo-terminal */
};

#define PROCESS_NONE                                            \
	{                                                       \
		.status_fd = -1, .in = -1, .out = -1, .err = -1 \
	}

/* Makes the pipes of both halves, one for input only if `input`. Returns 0 or negative errno; both
 * halves are to be closed in either case. */
int process_open(struct process *p, struct exec *x, bool input);

/* Gives the pipes to the process's user, who may open them again by the name /dev/stdout. */
void process_own(const struct process *p, uid_t uid, gid_t gid);

/* Forks. The child's own failures (working directory, exec, ...) come over `status_fd`; its end of
 * file without an error says that the program runs. Returns 0 or negative errno. */
int process_start(const struct exec_request *request, struct process *ret, struct error *err);

/* Kills a process that cannot be served, and closes what belongs to it. */
void process_end(struct process *p);

/* Sends a signal to the process, or to its process group: for a terminal the one in front. */
int process_signal(const struct process *p, int signo, bool group);

int process_resize(const struct process *p, uint32_t rows, uint32_t columns);
