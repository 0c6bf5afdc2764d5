/* A program that the agent runs for its own needs, beside its loop. */
#pragma once

#include <sys/types.h>

#include "lib/base.h"

struct program {
	pid_t pid;  /* 0 = none runs */
	int status; /* of the last one, as wait(2) has it */
	int64_t deadline;
};

/* The first place below `root` where programs of the system lie that has an executable `name`.
 * Returns 0 or -ENOENT. */
int program_find(const char *root, const char *name, char *ret, size_t size);

/* Forks: in the child p->pid is 0, its input is empty and its output thrown away. What has not
 * ended when its time is over is killed by program_runs(). Returns 0 or negative errno. */
int program_fork(struct program *p, int64_t timeout_ms);

/* Starts `path`, with no input and its output thrown away, but errors on the console. It is killed
 * when its time is over. Returns 0 or negative errno. */
int program_start(struct program *p, const char *path, const char *const *argv, int64_t timeout_ms);

/* The same for a function of ours that may block; what it returns becomes the exit status. */
int program_call(struct program *p, int (*function)(void *), void *argument, int64_t timeout_ms);

/* Does it still run? What has had its time is killed and counts as ended. */
bool program_runs(struct program *p);

/* Kills what still runs. */
void program_stop(struct program *p);

/* A child was reaped; false if it is not this program. */
bool program_on_exit(struct program *p, pid_t pid, int status);
