/* The job starter: what a task becomes. */
#pragma once

#include "lrms/slurm/plugin/allocation.h"
#include "lrms/slurm/plugin/demand.h"

/* Becomes `program` with the options that were asked for, the allocation and the task's own argv;
 * the environment is `env`. Returns only on failure, negative errno. */
int starter_exec(const char *program, const struct demand *d, const struct allocation *a,
	char *const *argv, char *const *env, struct error *err);

/* Is this what `srun --multi-prog` makes of its file: the file's name and the whole of its text?
 * Slurm does not tell plugins which line is the task's. */
bool starter_is_multi_prog(char *const *argv);
