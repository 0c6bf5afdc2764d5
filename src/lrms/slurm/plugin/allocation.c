#include "lrms/slurm/plugin/allocation.h"

#include <errno.h>
#include <sched.h>
#include <slurm/slurm.h>

static uint64_t load_memory(spank_t spank)
{
	uint64_t mib = 0;

	if (spank_get_item(spank, S_STEP_ALLOC_MEM, &mib) == ESPANK_SUCCESS && mib > 0)
		return mib;
	if (spank_get_item(spank, S_JOB_ALLOC_MEM, &mib) != ESPANK_SUCCESS)
		return 0;
	return mib;
}

/* Slurm knows how many CPUs the step has; where it does not say, a task's own may be fewer. */
static uint32_t load_cpus(spank_t spank)
{
	uint16_t cpus = 0;
	cpu_set_t own;

	if (spank_get_item(spank, S_JOB_NCPUS, &cpus) == ESPANK_SUCCESS && cpus > 0)
		return cpus;
	return sched_getaffinity(0, sizeof(own), &own) == 0 ? (uint32_t)CPU_COUNT(&own) : 1;
}

static bool is_batch_script(spank_t spank)
{
	uint32_t step = 0;

	return spank_get_item(spank, S_JOB_STEPID, &step) == ESPANK_SUCCESS &&
	       step == SLURM_BATCH_SCRIPT;
}

int allocation_load(spank_t spank, struct allocation *ret, struct error *err)
{
	*ret = (struct allocation){.memory_mib = load_memory(spank),
		.cpus = load_cpus(spank),
		.script = is_batch_script(spank)};
	if (spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &ret->local_tasks) != ESPANK_SUCCESS ||
		ret->local_tasks == 0)
		return fail(err, -EIO, "Slurm does not say how many tasks the step has here");
	return 0;
}
