/* The runner: starts queued jobs, strictly in their order, as slots become free. One at a time
 * works on a queue, and it ends when there is nothing left to do.
 *
 * It keeps nothing that matters in memory: killed at any point, the next one goes on from the
 * database and from the processes that it finds. */
#pragma once

#include "lrms/lrms.h"

/* Runs until the queue is empty or SIGTERM comes. `limits` (may be NULL) is called now and then and
 * may change the options. Returns 0, also if another runner is at work already, or negative errno.
 */
int queue_runner_run(struct lrms_options *options, void (*limits)(struct lrms_options *options),
	struct error *err);
