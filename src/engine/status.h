/* The status of a job's VM: which job it is of, where it is, how far it has come and how long each
 * phase took. The starter of the VM keeps it in a small file of the user's (engine/status_file.h),
 * from which `wnodes job` tells. */
#pragma once

#include "engine/phase.h"
#include "lib/digest.h"
#include "lib/error.h"

/* The largest file that is read. One of ours has some two kilobytes. */
#define STATUS_MAX 16384

/* Words of the batch system: letters, digits, "-", "_" and, but for jobs, ".". */
#define STATUS_WORD_MAX 64

/* The job that a VM is of. */
struct status_job {
	char cluster[STATUS_WORD_MAX];
	char job[STATUS_WORD_MAX];
	char step[STATUS_WORD_MAX]; /* "": the job has no steps */
	char node[STATUS_WORD_MAX]; /* the batch system's name of this host */
	uint64_t restart;           /* how often the job was put back into the queue */
};

/* The starter of a VM. A process number counts only in one namespace of one boot. */
struct status_starter {
	uint64_t pid, start; /* as struct process of lrms/process.h */
	char boot[40];
	char space[40]; /* its pid namespace */
};

/* Microseconds; since the request was accepted. */
struct status_phase {
	bool entered;
	uint64_t start_us, duration_us; /* the duration of the last one is that at the writing */
};

struct status {
	struct status_job job;
	struct status_starter starter;
	char vm[32];     /* "": there was none */
	char image[256]; /* "name:tag" */
	char digest[DIGEST_HEX_SIZE];
	char start[8];        /* "boot", "clone", or "" before the agent has answered */
	uint64_t accepted_us; /* when the request was accepted, since the epoch */
	enum phase phase;
	struct status_phase phases[PHASE_COUNT];
	int exit_status; /* -1: none (yet) */
	char reason[ERROR_TEXT_MAX];
};

/* May this be a part of a status file's name? */
bool status_is_word(const char *text);

/* Reads what status_format() wrote; whatever else there is, is refused. Returns 0, or -EINVAL with
 * what is wrong. */
int status_parse(const char *json, size_t length, struct status *ret, struct error *err);

/* As a line of JSON, for the caller to free; NULL when out of memory. */
char *status_format(const struct status *s);

/* Has the VM come to its end, as its starter saw it? */
bool status_has_ended(const struct status *s);

/* How long the VM was on its way to the command, in microseconds, up to `now_us` (since the epoch)
 * if it still is; 0 for `now_us` counts only what was written. */
uint64_t status_provision_us(const struct status *s, uint64_t now_us);

/* How long it was in this phase; likewise. 0 if it was not. */
uint64_t status_phase_us(const struct status *s, enum phase phase, uint64_t now_us);
