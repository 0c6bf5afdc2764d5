/* The worker: one thread for what takes its time with files, so that neither those who wait for an
 * answer of the database nor the writer are kept by it. */
#pragma once

#include "lib/error.h"

struct worker_job {
	void (*work)(struct worker_job *job); /* in the worker's thread, once */
	struct worker_job *next;
};

struct worker;

/* Returns 0 or negative errno. */
int worker_new(struct worker **ret, struct error *err);

/* Does what is queued, and ends its thread. */
void worker_end(struct worker *w);
struct worker *worker_free(struct worker *w);
DEFINE_CLEANUP(struct worker *, worker_free)

/* Returns 0, or -EBUSY if too many wait. */
int worker_add(struct worker *w, struct worker_job *job);
