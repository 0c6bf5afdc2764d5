/* A campaign's results as JSON, which is what is kept, shown, drawn and compared. */
#pragma once

#include "bench/campaign.h"

#define OUTCOME_VERSION 1

/* {"version", "when", "machine", "vm", "quick", "runs", "results": [{"trial", "title", "figure",
 * "what", "unit", "lower", "place", "values", "median", "min", "max", "ratio" or "not_comparable",
 * "programs", "size"}], "missing": [{"trial", "place", "why"}]}. The ratio says how good the figure
 * is beside that of "bare". NULL when out of memory. */
json_t *outcome_to_json(const struct campaign *c);

/* Are these two of the same kind of machine, VMs and sizes? Returns 0, or -EINVAL with all that is
 * different, also for what is no report. */
int outcome_check_comparable(json_t *old, json_t *new, struct error *err);

/* Adds to each result of `new` the member "old", the median of the same figure and place in `old`,
 * and "ratio_to_old" where programs and sizes are the same, else "old_not_comparable". Returns 0 or
 * -ENOMEM. */
int outcome_compare(json_t *old, json_t *new);
