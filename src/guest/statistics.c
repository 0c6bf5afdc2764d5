/* STATISTICS: what the VM uses, from /proc. */
#include <sys/sysinfo.h>

#include "guest/call.h"
#include "guest/disk.h"
#include "guest/version.h"

/* The first line of /proc/stat: user nice system idle iowait irq softirq steal, in 1/100 s. */
static uint64_t cpu_busy_us(void)
{
	enum { IDLE = 3, IOWAIT = 4, SOFTIRQ = 6 };
	char text[256], *p = text + sizeof("cpu") - 1;
	uint64_t ticks = 0, n;

	if (disk_read("/proc/stat", text, sizeof(text)) < (ssize_t)sizeof("cpu"))
		return 0;
	for (int i = 0; i <= SOFTIRQ; i++) {
		n = strtoull(p, &p, 10);
		if (i != IDLE && i != IOWAIT)
			ticks += n;
	}
	return ticks * (1000000 / 100);
}

static uint32_t oom_kills(void)
{
	static const char key[] = "\noom_kill ";
	char text[8192];
	const char *line;

	if (disk_read("/proc/vmstat", text, sizeof(text)) < 0)
		return 0;
	line = strstr(text, key);
	return line ? (uint32_t)strtoul(line + sizeof(key) - 1, NULL, 10) : 0;
}

/* Lines of /proc/net/dev: "  eth0: received_bytes" and seven more of receiving, "sent_bytes" ... */
static void fill_network(struct statistics *s)
{
	enum { SENT = 8 };
	char text[16384], *line, *rest = text;

	if (disk_read("/proc/net/dev", text, sizeof(text)) < 0)
		return;
	while ((line = strsep(&rest, "\n"))) {
		char *colon = strchr(line, ':'), *p;

		line += strspn(line, " ");
		if (!colon || strncmp(line, "lo:", 3) == 0)
			continue;
		p = colon + 1;
		s->network_received_bytes += strtoull(p, &p, 10);
		for (int i = 1; i < SENT; i++)
			strtoull(p, &p, 10);
		s->network_sent_bytes += strtoull(p, &p, 10);
	}
}

int statistics_on_call(const struct call *c)
{
	struct sysinfo info = {0};
	struct statistics s = {
		.memory_total_kib = version_memory_kib("MemTotal:"),
		.memory_available_kib = version_memory_kib("MemAvailable:"),
		.cpu_busy_us = cpu_busy_us(),
		.uptime_us = version_uptime_us(),
		.oom_kills = oom_kills(),
	};

	fill_network(&s);
	sysinfo(&info);
	s.processes = info.procs;
	return message_encode(statistics_fields, &s, c->body);
}
