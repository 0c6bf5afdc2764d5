/* What was asked for by options: collected as Slurm hands them over, one at a time. */
#pragma once

#include "lib/strv.h"
#include "lrms/slurm/plugin/option.h"

/* That many of one repeated option: all of them travel in the job's environment. */
#define DEMAND_LIST_MAX 256

struct demand {
	struct {
		struct strv values;
		bool given; /* on the command line or in the script, not handed down */
	} options[OPTION_COUNT];
};

/* Adds a value; that of an option which is no list replaces the one before. What was given replaces
 * what is `handed_down` by the job that we are in, whichever comes first: sbatch looks into its
 * script before it looks into the environment. Returns 0, -E2BIG or -ENOMEM. */
int demand_add(struct demand *d, enum option_id id, const char *value, bool handed_down,
	struct error *err);

/* All values of an option, NULL-terminated; NULL if there is none. */
const char *const *demand_list(const struct demand *d, enum option_id id);

/* The only or first value, or NULL. */
const char *demand_get(const struct demand *d, enum option_id id);

void demand_clear(struct demand *d, enum option_id id);

/* Is this one of the option's values? */
bool demand_has(const struct demand *d, enum option_id id, const char *value);

/* The first option that was given beside the image, or NULL. */
const struct option_row *demand_find_given(const struct demand *d);
