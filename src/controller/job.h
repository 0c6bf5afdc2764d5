/* Jobs, as nodes and usage records tell of them: what a site's batch system knows better, but only
 * for a while. */
#pragma once

#include "controller/route.h"

#define JOB_SYSTEM_MAX 32
#define JOB_TEXT_MAX   128
#define JOB_KEY_MAX    (JOB_SYSTEM_MAX + JOB_TEXT_MAX)

/* What is told of a job. Texts that are not known are "". */
struct job {
	char system[JOB_SYSTEM_MAX];
	char id[JOB_TEXT_MAX];
	char name[JOB_TEXT_MAX], partition[JOB_TEXT_MAX], account[JOB_TEXT_MAX];
};

/* Of the object that a node sends; the base of the offsets is struct job. */
extern const struct field job_fields[];

/* "slurm.4711". Returns `key`. */
const char *job_key(const struct job *j, char key[JOB_KEY_MAX]);

/* Notes that there is such a job, of this user: the first word on whose it is counts. In a write
 * transaction. Returns 0 or negative errno. */
int job_note(
	struct sql *db, const struct job *j, const char *user, uint64_t now_us, struct error *err);

/* Counts the VMs of these jobs (the keys of an object) anew. Returns 0 or negative errno. */
int job_count_vms(struct sql *db, json_t *keys, struct error *err);

/* Forgets some that have no VM, and were not heard of since `before_us`. Returns how many, or
 * negative errno. */
#define JOB_PRUNE_MAX 500
int job_prune(struct sql *db, uint64_t before_us, struct error *err);

extern const struct listing job_listing;
extern const struct route job_routes[];
