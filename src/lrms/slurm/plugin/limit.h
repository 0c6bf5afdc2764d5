/* The resource limits that are propagated from where the job was submitted.
 *
 * slurmstepd sets them at the very last, after the plugin's hook has become the job starter. So
 * that the command in the VM gets its own, the plugin sets those that are carried into a VM. The
 * others (memory, processes) would hit the job starter and QEMU instead of the command, and the
 * step's cgroup limits those. */
#pragma once

#include <slurm/spank.h>

#include "lib/base.h"

/* Sets the soft limits that the variables SLURM_RLIMIT_... of the job ask for, and removes the
 * variables, as slurmstepd does. A limit that cannot be set is logged where it was asked for by
 * --propagate. */
void limit_apply(spank_t spank);
