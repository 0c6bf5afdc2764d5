/* Which job of the batch system we are of: by its variables, which every job finds in its
 * environment. */
#pragma once

#include "engine/status.h"

/* Of the user's own queue on this host, the "cluster" is this and the host's name. */
#define STATUS_LOCAL "local-"

/* Fills `ret` and returns true, or returns false where there is no job, or one of no usual name. */
bool status_job_find(struct status_job *ret);

/* The name under which the local queue's jobs of this host are kept. */
void status_job_local_cluster(char ret[STATUS_WORD_MAX]);

/* This process, and whether one that was noted is alive. */
void status_starter_set(struct status_starter *ret);

enum status_life {
	STATUS_UNKNOWN, /* it runs, or ran, where we cannot look */
	STATUS_ALIVE,
	STATUS_DEAD,
};

enum status_life status_starter_look(const struct status_starter *starter, const char *node);
