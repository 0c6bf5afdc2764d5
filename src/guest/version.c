#include "guest/version.h"

#include <stdio.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>

#include "config.h"
#include "guest/disk.h"

uint64_t version_memory_kib(const char *key)
{
	char text[4096];
	const char *line;

	if (disk_read("/proc/meminfo", text, sizeof(text)) < 0)
		return 0;
	line = strstr(text, key);
	return line ? strtoull(line + strlen(key), NULL, 10) : 0;
}

uint64_t version_uptime_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* MemTotal by one system call: making up /proc/meminfo is work, and a clone waits for its hello. */
static uint64_t version_memory_total_kib(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? 0 : (uint64_t)info.totalram * info.mem_unit / 1024;
}

/* What does not change while the guest runs; a clone need not ask its kernel again. */
struct machine {
	struct utsname names;
	char init[64];
	uint32_t cpus;
	uint64_t memory_kib;
};

static const struct machine *version_machine(void)
{
	static struct machine m;

	if (m.cpus > 0)
		return &m;
	uname(&m.names);
	snprintf(m.init, sizeof(m.init), "wnodes");
	if (getpid() != 1)
		disk_read_line("/proc/1/comm", m.init, sizeof(m.init));
	m.memory_kib = version_memory_total_kib();
	m.cpus = (uint32_t)MAX_OF(sysconf(_SC_NPROCESSORS_ONLN), 1L);
	return &m;
}

int version_send_hello(struct link *l)
{
	const struct machine *m = version_machine();
	const struct hello_guest hello = {
		.magic = MESSAGE_MAGIC,
		.version_min = MESSAGE_VERSION,
		.version_max = MESSAGE_VERSION,
		.agent_version = WNODES_VERSION,
		.kernel = m->names.release,
		.init = m->init,
		.cpus = m->cpus,
		.memory_kib = m->memory_kib,
		.uptime_us = version_uptime_us(),
		.features = AGENT_FEATURE_TEMPLATE | AGENT_FEATURE_SSHFS | AGENT_FEATURE_REMOUNT,
	};

	return link_send(l, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
}
