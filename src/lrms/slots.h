/* What the local queue may use of the machine, and how much of it is in use. */
#pragma once

#include "lrms/lrms.h"

struct slots {
	uint64_t cpus, memory_bytes;
};

/* What the options say, or the machine has: the CPUs that we may run on, and nine tenths of the
 * memory, the rest being for the system and for what a VM needs besides its memory. */
void slots_get(const struct lrms_options *options, struct slots *ret);

/* Fits a job of this size, when `used` is in use? */
bool slots_fit(
	const struct slots *all, const struct slots *used, uint64_t cpus, uint64_t memory_bytes);

/* Refuses a job that would not even fit if it were alone. Returns 0, or -E2BIG with the numbers. */
int slots_check(const struct slots *all, uint64_t cpus, uint64_t memory_bytes, struct error *err);
