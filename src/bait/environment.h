/* The environment of a job, as its command sees it in the VM. */
#pragma once

#include "engine/crew.h"

/* Copies our environment, without what belongs to the host's software and sessions: search paths,
 * modules, sockets, directories that the VM does not have; and adds by what an mpirun starts all
 * its ranks in the VM, or in all VMs of `crew` (NULL: none). Returns 0 or -ENOMEM. */
int environment_pass(struct strv *ret, const struct crew *crew, struct error *err);

/* Does somebody wait for this task, as in srun and salloc? Nobody does for a batch job. */
bool environment_is_awaited(void);

/* A job comes with the environment of the host that it was submitted on. Where the runtime
 * directory of there is none of ours here, as on a node that its user has no session on, the
 * default counts. */
void environment_settle(void);
