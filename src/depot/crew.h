/* Threads for what takes a processor's time: hashing, unpacking, copying. One thread gives them
 * work and takes it back when it is done; it alone makes these calls. */
#pragma once

#include "lib/base.h"

struct crew;

/* Belongs to who gives it. */
struct crew_job {
	void (*run)(struct crew_job *job);
	struct crew_job *next; /* the crew's */
};

/* `wake` is called by the threads whenever a job is done. Returns 0 or negative errno. */
int crew_new(size_t threads, void (*wake)(void *userdata), void *userdata, struct crew **ret);

/* All jobs have been taken back before. */
struct crew *crew_free(struct crew *c);
DEFINE_CLEANUP(struct crew *, crew_free)

/* As many threads as are worth it here. */
size_t crew_default_threads(void);

/* Jobs are begun in the order in which they are given. */
void crew_give(struct crew *c, struct crew_job *job);

/* A job that is done, or NULL. */
struct crew_job *crew_take(struct crew *c);

/* Jobs that were given and not taken back. */
size_t crew_pending(const struct crew *c);
