/* A process between us and a program of a build, which ends the program with all that it started,
 * when we say so and when we die.
 *
 * PR_SET_PDEATHSIG reaches only direct children, and a process group only those that stay in it:
 * fakeroot, for one, starts a daemon with a session of its own. So the watcher adopts every orphan
 * below it (PR_SET_CHILD_SUBREAPER), and goes on until it has no child left.
 */
#pragma once

#include "lib/child.h"

struct watcher {
	pid_t pid;
	int fd; /* its end of file tells the watcher that we are gone */
};

/* Starts the watcher, and the program in a session of its own. Returns 0, or negative errno as
 * child_spawn(). */
int watcher_start(const struct child_spec *spec, struct watcher *ret, struct error *err);

/* Waits for the program's end, and the end of what it left behind, which follows. Returns the wait
 * status, -ETIMEDOUT, or negative errno. */
int watcher_wait(struct watcher *w, int timeout_ms);

/* Ends what still runs: by SIGTERM, and after a grace by SIGKILL. Needed after each start. */
void watcher_stop(struct watcher *w);
