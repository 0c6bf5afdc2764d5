/* Other programs, run as children: one way to start them, one way to wait. */
#pragma once

#include "lib/error.h"

/* What a child inherits. Descriptors 0, 1 and 2 are set from the struct (-1: /dev/null for 0 and
 * 1, the caller's for 2); all others are closed but for `keep`, which arrive under their own
 * numbers. All signals are at their defaults, and none is blocked unless `unasked` is set. */
struct child_spec {
	const char *const *argv; /* argv[0] is looked up in PATH; NULL-terminated */
	const char *const *env;  /* NULL: the caller's */
	int stdin_fd, stdout_fd, stderr_fd;
	const int *keep;
	size_t keep_count;
	const char *workdir;   /* NULL: the caller's */
	bool new_session;      /* setsid(2): the terminal's signals do not reach it */
	bool dies_with_parent; /* SIGKILL when the calling thread ends (PR_SET_PDEATHSIG) */
	/* SIGTERM and its like stay blocked: the child ends by its parent's doing alone, also where
	 * a batch system signals each process of a job. SIGKILL and SIGSTOP are as ever. */
	bool unasked;
	bool no_new_privs; /* PR_SET_NO_NEW_PRIVS, and no core file */
	bool set_user;     /* for root: becomes this user, of these groups alone */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* beside gid */
	size_t group_count;
	/* Called in the caller, with the pid of a child that waits for its return to become the
	 * program; NULL: nothing is called. If it returns a negative errno, the program is never
	 * executed, and child_spawn() returns that. So one can write down what is about to run. */
	int (*before_exec)(pid_t pid, void *userdata, struct error *err);
	/* Called in the child, when all else is set, the first before before_exec(), which there
	 * must be then, the second after it: raw system calls only. If one returns a negative
	 * errno, the program is never executed. NULL: none. */
	int (*before_wait)(void *userdata);
	int (*after_wait)(void *userdata);
	void *userdata;
};

#define CHILD_SPEC_INIT                                                                    \
	{                                                                                  \
		.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .dies_with_parent = true \
	}

/* Starts the child; an exec that fails is reported here, not by a child's exit. Returns 0 and the
 * pid and a pidfd (the caller's to close), or negative errno (-ENOENT: no such program). */
int child_spawn(const struct child_spec *spec, pid_t *ret_pid, int *ret_pidfd, struct error *err);

/* A pipe for a child's streams: CLOEXEC, and both ends above 2 even if the caller's own streams are
 * closed. Returns 0, or negative errno with what is open in `ret` (else -1). */
int child_pipe(int ret[2]);

/* Waits at most `timeout_ms` (-1: for ever) and reaps. Returns the wait status (>= 0),
 * -ETIMEDOUT, or negative errno. The child is left running at a timeout. */
int child_wait(int pidfd, int timeout_ms);

/* Kills, and reaps within a few seconds. Returns as child_wait(). */
int child_kill(int pidfd);

/* Spawns and waits, with the end of what it writes to stderr in the message when it fails.
 * Returns 0 for exit status 0, -ETIMEDOUT (it is then killed), -EIO for another end, or the spawn's
 * negative errno. */
int child_run(const struct child_spec *spec, int timeout_ms, struct error *err);

/* As child_run() with stdout captured (at most `max` bytes; more is an error). *ret is
 * NUL-terminated and the caller's to free. */
int child_output(
	const struct child_spec *spec, int timeout_ms, size_t max, char **ret, struct error *err);
