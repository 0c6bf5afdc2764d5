/* A thread beside the loop: for work that may take longer than clients are to wait, such as
 * reading a disk. Jobs are done one after the other, in the order in which they were added. */
#pragma once

#include <systemd/sd-event.h>

#include "lib/error.h"

struct worker_job {
	void (*work)(struct worker_job *job); /* in the thread: nothing but the job is its own */
	/* In the loop, always: `cancelled` if the daemon ends and nothing may have been done. Frees
	 * what the job is part of. */
	void (*done)(struct worker_job *job, bool cancelled);
	struct worker_job *next;
};

struct worker;

int worker_new(sd_event *event, struct worker **ret, struct error *err);
void worker_add(struct worker *w, struct worker_job *job);

/* Waits for the job that is being done. */
struct worker *worker_free(struct worker *w);
DEFINE_CLEANUP(struct worker *, worker_free)
