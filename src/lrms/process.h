/* Processes that are not our children: found, told apart from later ones of the same number, and
 * ended with all that they have started. Reads /proc. */
#pragma once

#include "lib/error.h"

#define PROCESS_BOOT_ID_MAX 40

/* A pid is used again some day; with the time of its start it is not, until the next boot. */
struct process {
	pid_t pid;
	uint64_t start; /* in clock ticks since the boot, as proc(5) has it */
};

/* The id of this boot, as text. Returns 0 or negative errno. */
int process_boot_id(char ret[PROCESS_BOOT_ID_MAX]);

/* Looks at a process. Returns 0, -ESRCH if there is none or only a zombie, or another negative
 * errno. */
int process_find(pid_t pid, struct process *ret);

/* A pidfd of this very process. Returns -ESRCH if it has ended (a zombie has), or another negative
 * errno. */
int process_open(const struct process *process);

/* Kills (SIGKILL) all processes below `ancestor` (0: none; itself is spared), and all whose initial
 * environment has the entry `mark` ("NAME=value"; NULL: none) with all below them, again and again
 * until none is left; those that are our children are reaped. Processes of others, that we may not
 * look into or kill, are left out. Returns 0, or -ETIMEDOUT with one of them alive. */
int process_kill_all(pid_t ancestor, const char *mark, int timeout_ms);

/* The text of /proc/PID/NAME, its first 64 KiB, for the caller to free; NULL if it cannot be read.
 */
char *process_read(pid_t pid, const char *name);
