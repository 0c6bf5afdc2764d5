/* Starting a process for EXEC, with its pipes or its terminal. */
#pragma once

#include "lib/error.h"
#include "lib/message.h"

struct process {
	pid_t pid;
	int status_fd; /* gives a struct error if the program could not be started, else nothing */
	int in;        /* our ends, non-blocking; -1 where there is none */
	int out;
	int err;
	bool tty; /* `in` and `out` are the master of a pseudo-terminal */
};

/* Forks. The child's own failures (working directory, exec, ...) come over `status_fd`; its end of
 * file without an error says that the program runs. Returns 0 or negative errno. */
int process_start(const struct exec_request *request, struct process *ret, struct error *err);

/* Kills a process that cannot be served, and closes what belongs to it. */
void process_end(struct process *p);

/* Sends a signal to the process, or to its process group: for a terminal the one in front. */
int process_signal(const struct process *p, int signo, bool group);

int process_resize(const struct process *p, uint32_t rows, uint32_t columns);
