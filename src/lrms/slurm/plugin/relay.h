/* How options reach the node, where Slurm's own way is not enough.
 *
 * Slurm forwards one value of an option, sbatch --export=NONE none at all, and what a surrounding
 * job hands down counts more for sbatch than its script. So what was given travels once more as
 * variables, which count on the node: SLURM_SPANK_WNODES_VM_MOUNT_0, _1, ... up to an empty one.
 * --export lets variables that begin with SLURM pass, whatever it says. Where they are missing,
 * there are those by which Slurm itself hands options down, SLURM_SPANK__SLURM_SPANK_OPTION_... */
#pragma once

#include <slurm/spank.h>

#include "lrms/slurm/plugin/demand.h"

/* Is this value of an option the one that a surrounding job handed down, and not typed? */
bool relay_is_handed_down(enum option_id id, const char *value);

/* Where jobs are submitted: puts what was given into our own environment and into the job's.
 * Returns 0 or negative errno. */
int relay_store(spank_t spank, const struct demand *d, struct error *err);

/* The variable by which all tasks of a step of srun get what is secret to their VMs. */
#define RELAY_SECRET "SLURM_WNODES_KEY"

/* In srun: makes one. Returns 0 or negative errno. */
int relay_store_secret(struct error *err);

/* On the node: completes what Slurm handed over by what is in the job's environment. Values are
 * checked. Returns 0 or negative errno. */
int relay_load(struct demand *d, char *const *env, struct error *err);
