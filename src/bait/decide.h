/* What the site's policy makes of a job. */
#pragma once

#include "bait/arguments.h"
#include "engine/policy.h"

struct decide {
	struct policies policies;
	struct policy_decision decision;
};

/* Asks the policies of the file `path` about what the arguments want, for the job that the batch
 * system's variables tell of. What it decided is laid over the arguments' options, which point
 * into `ret` then. Returns 0, or negative errno; decide_done() is due in both cases. */
int decide_load(struct decide *ret, const char *path, struct arguments *a, struct error *err);
void decide_done(struct decide *d);
