/* All that was measured of one trial in one place, and what may be said of it. */
#pragma once

#include "bench/place.h"
#include "bench/reading.h"

#define RESULT_RUNS_MAX 50

struct result {
	const struct trial *trial;
	const struct place *place;
	struct reading *readings; /* room for RESULT_RUNS_MAX */
	size_t count;
};

struct result_summary {
	double median, min, max;
	size_t count;
};

/* Of one figure, over all runs. False: there is none. */
bool result_summarize(const struct result *r, int figure, struct result_summary *ret);

/* How good `r` is in terms of `base`: 2 is twice as good, so twice as much, or half as long where
 * less is better. Returns NULL, or why it cannot be said. */
const char *result_compare(
	const struct result *r, const struct result *base, int figure, double *ret_ratio);

/* Texts of the first run that has one, else "". */
const char *result_programs(const struct result *r);
const char *result_size(const struct result *r);
const char *result_missing(const struct result *r);
const char *result_why(const struct result *r);
