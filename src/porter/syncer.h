/* Brings what was put to the disk from time to time, on a thread of its own, so that little is left
 * to do at the end, and little is fetched again after a crash. */
#pragma once

#include "depot/assembly.h"

struct syncer;

int syncer_new(struct syncer **ret, struct error *err);

/* From now on this one as well; it lives longer than the syncer. */
int syncer_add(struct syncer *s, struct assembly *a);

/* Returns 0, or the negative errno with which a disk has failed. */
int syncer_check(struct syncer *s, struct error *err);

/* Waits for what it is doing. */
struct syncer *syncer_free(struct syncer *s);
DEFINE_CLEANUP(struct syncer *, syncer_free)
