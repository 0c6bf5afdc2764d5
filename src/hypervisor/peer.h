/* Who is at the other end of a connection: what the kernel says, never what is claimed. */
#pragma once

#include "lib/base.h"

#define PEER_JOB_MAX 64 /* with NUL: "123.0", "123.batch" */

struct peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	char job[PEER_JOB_MAX]; /* of Slurm, with its step; "" for a process that is in none */
};

/* Asks the kernel about a connected socket. Returns 0 or negative errno. */
int peer_get(int socket, struct peer *ret);

/* Finds the job in the text of a /proc/PID/cgroup. Only directories that root alone can make count:
 * a name like that of a job's, below a directory that the user may write to, is nobody's job.
 * Returns true and the job, or false and "". */
bool peer_parse_cgroup(const char *text, uid_t uid, char ret_job[PEER_JOB_MAX]);

/* Is `pid` a living process of this user, and a child of the one that connected? */
bool peer_owns_process(const struct peer *peer, pid_t pid);
