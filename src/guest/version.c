#include "guest/version.h"

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

int version_send_hello(struct link *l)
{
	char init[64] = "wnodes";
	struct utsname u = {0};
	struct hello_guest hello = {
		.magic = MESSAGE_MAGIC,
		.version_min = MESSAGE_VERSION,
		.version_max = MESSAGE_VERSION,
		.agent_version = WNODES_VERSION,
		.kernel = u.release,
		.init = init,
		.cpus = (uint32_t)MAX_OF(sysconf(_SC_NPROCESSORS_ONLN), 1L),
		.memory_kib = version_memory_kib("MemTotal:"),
		.uptime_us = version_uptime_us(),
	};

	uname(&u);
	if (getpid() != 1)
		disk_read_line("/proc/1/comm", init, sizeof(init));
	return link_send(l, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
}
