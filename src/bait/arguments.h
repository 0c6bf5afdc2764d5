/* What the batch system's hook asks the job starter for:
 *
 *   wnodes-bait [--lrms NAME] [--image I] [--cpus N] [--memory SIZE] [--mount M]... [--volume V]...
 *       [--root KIND] [--network KIND] [--scratch SIZE] [--start HOW] [--env E]... [--workdir DIR]
 * [--mpi PROGRAM] [--script]
 *       [--job-memory MIB] [--job-cpus N] [--local-tasks N] -- COMMAND [ARG...]
 *
 * Systems whose hook has no options of its own (starter_method, JOB_STARTER) give the same by the
 * environment: WNODES_IMAGE, WNODES_CPUS, WNODES_MEMORY, WNODES_MOUNT, WNODES_VOLUME,
 * WNODES_ROOT, WNODES_NETWORK, WNODES_SCRATCH, WNODES_START, WNODES_ENV, WNODES_WORKDIR,
 * WNODES_MPI; those that may be repeated are separated by commas.
 */
#pragma once

#include "engine/options.h"

struct arguments {
	struct options options;
	struct strv mounts, volumes, env;
	const char *lrms;
	uint64_t job_memory_mib; /* of the job on this node; 0: not limited */
	uint64_t job_cpus;       /* of the job on this node; 0: not known */
	uint64_t local_tasks;    /* of the step on this node, at least 1 */
	const char *mpi;         /* "none", "first", or what starts the ranks; NULL: none */
	bool script;             /* the command is a file of the host */
	const char **command;    /* points into argv */
	const char *policy;      /* the site's rule that decided; NULL: none */
};

/* Returns 0 or negative errno with what is wrong. */
int arguments_parse(struct arguments *ret, int argc, char **argv, struct error *err);
void arguments_done(struct arguments *a);
