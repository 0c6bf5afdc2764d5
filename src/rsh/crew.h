/* The tasks of a job's step, which wait for one of them: the first, which runs the command once all
 * others are there, and tells them its exit status. Each VM but the first task's own serves
 * `wnodes-rsh` meanwhile. */
#pragma once

#include "rsh/link.h"

struct crew_task {
	uint32_t host;  /* which VM this is, by its place among the job's */
	uint32_t rank;  /* which task */
	int wait_s;     /* how long the others may take to come */
	char **command; /* of the first task; else NULL */
};

/* The first task: returns the command's exit status, or 125 after a message. */
int crew_lead(const struct job *j, const struct crew_task *t);

/* Any other: returns the first one's exit status, or 125 after a message. */
int crew_attend(const struct job *j, const struct crew_task *t);
