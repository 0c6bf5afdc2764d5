#include "vm/pinning.h"

#include <errno.h>
#include <sched.h>

#include "lib/log.h"

/* Returns the CPU after `cpu` in the set, or -1. */
static int next_cpu(const cpu_set_t *set, int cpu)
{
	for (cpu++; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, set))
			return cpu;
	return -1;
}

static void pin(pid_t thread, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(thread, sizeof(one), &one) < 0)
		log_warning("a virtual CPU cannot be kept on CPU %d: %s, ignoring", cpu,
			strerror(errno));
	else
		log_debug("the virtual CPU of thread %d is kept on CPU %d", (int)thread, cpu);
}

static void on_cpus(json_t *cpus, const char *error, void *userdata)
{
	json_int_t count = (json_int_t)json_array_size(cpus);
	json_t *item;
	cpu_set_t ours;
	int cpu = -1;
	size_t i;

	if (error || sched_getaffinity(0, sizeof(ours), &ours) < 0)
		return;
	if (count != CPU_COUNT(&ours)) {
		log_debug("no CPU is pinned: the VM has %lld, and the job %d", (long long)count,
			CPU_COUNT(&ours));
		return;
	}
	json_array_foreach(cpus, i, item)
	{
		cpu = next_cpu(&ours, cpu);
		pin((pid_t)json_integer_value(json_object_get(item, "thread-id")), cpu);
	}
}

int pinning_start(struct qmp *q)
{
	return qmp_execute(q, "query-cpus-fast", NULL, on_cpus, NULL);
}
