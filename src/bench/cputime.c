#include "bench/cputime.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/file.h"

#define PROCESSES_MAX 65536
#define STAT_MAX      4096

struct process {
	pid_t pid, parent;
	unsigned long long ticks;
	bool counted;
};

/* Source: proc(5), /proc/PID/stat: the name is in parentheses, and may have any byte in it. */
static int process_parse(const char *text, struct process *ret)
{
	unsigned long long own_user, own_system, user, system;
	const char *rest = strrchr(text, ')');
	int parent;

	if (!rest ||
		sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu",
			&parent, &own_user, &own_system, &user, &system) != 5)
		return -1;
	ret->pid = (pid_t)strtol(text, NULL, 10);
	ret->parent = parent;
	ret->ticks = own_user + own_system + user + system;
	return 0;
}

static int process_load(int proc, const char *name, struct process *ret)
{
	char path[300];
	autofree char *text = NULL;
	size_t length;

	*ret = (struct process){0};
	snprintf(path, sizeof(path), "%s/stat", name);
	return file_read(proc, path, STAT_MAX, &text, &length) < 0 ? -1 : process_parse(text, ret);
}

static size_t processes_load(struct process *list)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	size_t count = 0;

	while (dir && count < PROCESSES_MAX && (e = readdir(dir)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
			process_load(dirfd(dir), e->d_name, &list[count]) == 0)
			count++;
	if (dir)
		closedir(dir);
	return count;
}

static bool is_counted(const struct process *list, size_t count, pid_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].pid == pid)
			return list[i].counted;
	return false;
}

double cputime_of_tree(pid_t pid)
{
	autofree struct process *list = calloc(PROCESSES_MAX, sizeof(*list));
	size_t count = list ? processes_load(list) : 0;
	unsigned long long ticks = 0;
	bool more = true;

	/* Children may have lower numbers than their parents, so it takes as many turns as there
	 * are generations. */
	for (size_t i = 0; i < count; i++)
		list[i].counted = list[i].pid == pid;
	while (more) {
		more = false;
		for (size_t i = 0; i < count; i++)
			if (!list[i].counted && is_counted(list, count, list[i].parent))
				list[i].counted = more = true;
	}
	for (size_t i = 0; i < count; i++)
		ticks += list[i].counted ? list[i].ticks : 0;
	return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}
