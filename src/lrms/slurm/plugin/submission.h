/* What a job asks of Slurm, as far as srun, sbatch and salloc know it when they submit. */
#pragma once

#include "lrms/slurm/plugin/demand.h"

/* Does the VM's memory leave room for the VM in the job's --mem, be it given on the command line,
 * in the environment or in an #SBATCH line? Where no --mem is given, or all of a node's (0), only
 * the node knows, and 0 is returned. Else 0 or -EINVAL. */
int submission_check_memory(const struct demand *d, struct error *err);
