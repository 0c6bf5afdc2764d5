/* What a step has on this node. */
#pragma once

#include <slurm/spank.h>

#include "lib/error.h"

struct allocation {
	uint64_t memory_mib;  /* 0: no limit */
	uint32_t cpus;        /* of the whole step, not of one task */
	uint32_t local_tasks; /* that the step has on this node */
	bool script;          /* its command is a batch script, which only this node's host has */
};

/* In a task: asks Slurm. Returns 0 or -EIO. */
int allocation_load(spank_t spank, struct allocation *ret, struct error *err);
