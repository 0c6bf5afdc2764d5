/* The step as one job of many VMs: which they are, and that the first task runs a command for all
 * of them, an mpirun for example, while the others wait for it. */
#pragma once

#include "bait/arguments.h"
#include "engine/crew.h"

/* The word of --mpi by which the first task runs the command as it is. */
#define GANG_FIRST "first"

/* A variable that srun's plugin gives to all tasks of a step: what is secret to its VMs. */
#define GANG_SECRET "SLURM_WNODES_KEY"

struct gang {
	struct crew crew;
	struct strv argv; /* what this task runs instead of the command; empty: the command */
};

/* Does this task belong to one? Returns 1, 0 if not, or negative errno with what is wrong.
 * gang_done() is due in all cases. */
int gang_load(struct gang *ret, const struct arguments *a, uint64_t wait_us, struct error *err);
void gang_done(struct gang *g);

/* "2(x3),1": a number of tasks for each node. Returns how many nodes that is, at most `max`, which
 * are written to `ret`, or -EINVAL. */
ssize_t gang_parse_tasks(const char *text, uint64_t *ret, size_t max);
