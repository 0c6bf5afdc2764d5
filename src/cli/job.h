/* What the verbs of `wnodes job` share: the jobs of the batch system, each with what its VMs tell
 * of themselves.
 *
 * A job is a JSON object: id, name, user, state, image, node, exit_status, reason, submitted_us,
 * started_us, ended_us, ran_us, and vms, a list of: id ("12.0"), vm, step, restart, node, image,
 * digest, start, phase ("lost" for one that ended without telling), provision_us, run_us, phases,
 * exit_status, reason. What is not known is null. */
#pragma once

#include <jansson.h>

#include "cli/verb.h"

struct job_filter {
	bool all;       /* also those that have ended */
	const char *id; /* only this one, ended or not; NULL: any */
};

/* Reads the settings, asks the batch system, and reads the status files. Where the batch system
 * does not answer, it says so on stderr and makes do with the files. *ret is an array, for
 * json_decref(). Returns 0 or negative errno. */
int job_gather(const struct job_filter *filter, json_t **ret, struct error *err);

extern const struct verb verb_job_list, verb_job_show;
