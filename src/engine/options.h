/* What a VM is asked to be, as options give it: of `wnodes run`, of the job starter. */
#pragma once

#include "engine/request.h"

/* NULL, 0 and empty lists are what the settings say. */
struct options {
	const char *image, *workdir;
	const char *network, *accel, *start; /* words of [run] network, [vm] accel, [run] start */
	const char *root;                    /* a word of [vm] root */
	const char *report;
	uint64_t cpus, memory, scratch, timeout; /* bytes and us */
	uint64_t disk_iops, disk_rate;           /* a second */
	bool scratch_given, timeout_given;       /* so that 0 can be told from nothing */
	const char *const *mounts, *const *volumes, *const *env; /* NULL, or ended by NULL */
	bool tty, verbose;
};

/* Lays the options over `r->settings`, for `r->caller`; both stay the caller's, as do the options'
 * strings, to which the request points. Adds the directories that are shared without asking.
 * Returns 0 or negative errno; request_done() is due in both cases. */
int options_fill_request(const struct options *o, struct request *r, struct error *err);
