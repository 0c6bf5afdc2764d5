/* A process that ends a group of processes when we die without having done so ourselves.
 *
 * PR_SET_PDEATHSIG reaches only direct children; mmdebstrap's would go on, some of them for ever.
 */
#pragma once

#include "lib/base.h"

struct watcher {
	pid_t pid;
	int fd; /* its end of file tells the watcher that we are gone */
};

/* Starts the watcher. Returns 0 or negative errno. */
int watcher_start(struct watcher *ret);

/* Tells it which process group to end. */
void watcher_set_group(struct watcher *w, pid_t group);

/* Sends it away; the group is left alone. */
void watcher_stop(struct watcher *w);
