/* The names of a step's nodes, and those of its VMs. */
#pragma once

#include "lib/error.h"
#include "lib/strv.h"

/* "w[1-3,07-10],login" in full, in its order. Returns 0, -EINVAL for what is no such list, -E2BIG
 * for more names than a job could have, or -ENOMEM. */
int hostlist_expand(const char *text, struct strv *ret, struct error *err);

/* The host name of the VM that a step of a job has on a node, which every node can tell without
 * asking: vm-JOB-STEP-NODE. Returns NULL if that is no host name, or when out of memory; else it is
 * the caller's to free. */
char *hostlist_vm(const char *job, const char *step, const char *node);

/* Those of all of a step's nodes, separated by commas, for the caller to free. NULL where there is
 * no such list. */
char *hostlist_vms(const char *job, const char *step, const char *nodes);
