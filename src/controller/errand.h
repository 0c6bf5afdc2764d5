/* Calls that others may keep waiting: the accounts of a directory far away, munged. A thread of its
 * own does them, one after the other, and who asks waits for so long and no longer: threads of HTTP
 * are few. While one takes longer than that, all who come are told so at once. */
#pragma once

#include "lib/error.h"

struct errands;

/* The thread is started with the first errand. NULL when out of memory. */
struct errands *errands_new(uint64_t patience_us);

/* What is under way is not waited for beyond the patience. */
struct errands *errands_free(struct errands *e);
DEFINE_CLEANUP(struct errands *, errands_free)

/* Has `work` done with `task`, in the thread. Returns 0 when it was: the task is the caller's
 * again. Else the task is gone, or will be when the work ends, by `drop`: -ETIMEDOUT, or another
 * negative errno. Several threads may call. */
int errands_run(struct errands *e, void (*work)(void *task), void (*drop)(void *task), void *task);
