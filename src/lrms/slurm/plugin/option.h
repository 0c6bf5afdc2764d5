/* The plugin's options: one table gives what srun, sbatch and salloc know of them, how a value is
 * checked, and by which argument the job starter gets it. */
#pragma once

#include "lib/error.h"

enum option_id {
	OPTION_IMAGE,
	OPTION_CPUS,
	OPTION_MEMORY,
	OPTION_MOUNT,
	OPTION_VOLUME,
	OPTION_ROOT,
	OPTION_NETWORK,
	OPTION_SCRATCH,
	OPTION_START,
	OPTION_ENV,
	OPTION_WORKDIR,
	OPTION_MPI,
	OPTION_COUNT,
};

struct option_row {
	const char *name;     /* as typed, without its dashes */
	const char *starter;  /* as the job starter has it */
	const char *argument; /* its name in --help */
	const char *usage;
	bool list; /* may be repeated */
	int (*check)(const char *text, struct error *err);
};

extern const struct option_row option_rows[OPTION_COUNT];

/* Longer values are no values, but what fills an environment that nothing can be started with. */
#define OPTION_VALUE_MAX 4096

/* Does this text make sense for the option, as far as that can be told where a job is submitted: an
 * image, a directory need not be there yet. Returns 0 or -EINVAL with what to write. */
int option_check(enum option_id id, const char *text, struct error *err);
