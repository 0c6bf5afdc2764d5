/* The step as one job of many VMs: which they are, and that the first task runs a command for all
 * of them, an mpirun for example, while the others wait for it. */
#pragma once

#include "bait/arguments.h"
#include "engine/crew.h"

/* The word of --mpi by which the first task runs the command as it is. */
#define GANG_FIRST "first"

/* A variable by which the step that a batch script becomes knows the script's file, which is on the
 * first node. */
#define GANG_SCRIPT "SLURM_WNODES_SCRIPT"

/* A variable that srun's plugin gives to all tasks of a step: what is secret to its VMs. */
#define GANG_SECRET "SLURM_WNODES_KEY"

struct gang {
	struct crew crew;
	struct strv argv;   /* what this task runs instead of the command; empty: the command */
	const char *script; /* of the host, which the first VM needs; NULL: none */
};

/* Does this task belong to one? Returns 1, 0 if not, or negative errno with what is wrong.
 * gang_done() is due in all cases. */
int gang_load(struct gang *ret, const struct arguments *a, uint64_t wait_us, struct error *err);
void gang_done(struct gang *g);

/* A batch script runs on the first node alone. One whose job is to have a network between the VMs
 * of several nodes becomes a step of srun, with all tasks of the job, of which the first runs it.
 * Returns 0 if this is none such, or negative errno; else it does not return. */
int gang_become_step(const struct arguments *a, struct error *err);

/* "2(x3),1": a number of tasks for each node. Returns how many nodes that is, at most `max`, which
 * are written to `ret`, or -EINVAL. */
ssize_t gang_parse_tasks(const char *text, uint64_t *ret, size_t max);
