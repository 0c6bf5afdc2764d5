#include "lrms/slots.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>

#include "lib/parse.h"

static uint64_t machine_cpus(void)
{
	cpu_set_t set;
	long online;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (uint64_t)CPU_COUNT(&set);
	/* More of them than the set has room for. */
	online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (uint64_t)online : 1;
}

static uint64_t machine_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void slots_get(const struct lrms_options *options, struct slots *ret)
{
	*ret = (struct slots){
		.cpus = options->cpus ? options->cpus : machine_cpus(),
		.memory_bytes =
			options->memory_bytes ? options->memory_bytes : machine_memory() / 10 * 9,
	};
}

bool slots_fit(
	const struct slots *all, const struct slots *used, uint64_t cpus, uint64_t memory_bytes)
{
	/* What is in use may be more than there is: settings change. */
	return used->cpus <= all->cpus && cpus <= all->cpus - used->cpus &&
	       used->memory_bytes <= all->memory_bytes &&
	       memory_bytes <= all->memory_bytes - used->memory_bytes;
}

int slots_check(const struct slots *all, uint64_t cpus, uint64_t memory_bytes, struct error *err)
{
	char asked[FORMAT_MAX], there[FORMAT_MAX];

	if (cpus > all->cpus)
		return fail(err, -E2BIG,
			"the job asks for %" PRIu64 " CPUs and the queue has %" PRIu64
			"; ask for less, or see [lrms] cpus in wnodes.conf",
			cpus, all->cpus);
	if (memory_bytes > all->memory_bytes)
		return fail(err, -E2BIG,
			"the job asks for %s of memory and the queue has %s; ask for less, or see "
			"[lrms] memory in wnodes.conf",
			format_size(memory_bytes, asked), format_size(all->memory_bytes, there));
	return 0;
}
