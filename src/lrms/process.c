#include "lrms/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "lib/deadline.h"
#include "lib/file.h"
#include "lib/path.h"

#define STAT_MAX        4096
#define PROC_TEXT_MAX   65536
#define ENVIRONMENT_MAX (4 << 20) /* more than ARG_MAX of any usual stack limit */
#define PAUSE_MS        5

/* A process as /proc shows it. */
struct sight {
	struct process process;
	pid_t parent;
	bool dead;   /* a zombie */
	bool doomed; /* to be killed */
};

struct sights {
	struct sight *items;
	size_t count;
};

static void sights_done(struct sights *s)
{
	free(s->items);
}

int process_boot_id(char ret[PROCESS_BOOT_ID_MAX])
{
	autofree char *text = NULL;
	size_t length;
	int r = file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", PROCESS_BOOT_ID_MAX - 1,
		&text, &length);

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	snprintf(ret, PROCESS_BOOT_ID_MAX, "%s", text);
	return 0;
}

/* The name, which stands in parentheses, may have any characters in it. */
static int sight_parse(const char *text, struct sight *ret)
{
	const char *rest = strrchr(text, ')');
	unsigned long long start;
	int parent;
	char state;

	/* proc(5): state is the third field, ppid the fourth, starttime the twenty-second. */
	if (!rest || sscanf(rest + 1,
			     " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
			     "%*d %*d %llu",
			     &state, &parent, &start) != 3)
		return -EPROTO;
	ret->parent = parent;
	ret->process.start = start;
	ret->dead = state == 'Z' || state == 'X';
	return 0;
}

static int sight_read(pid_t pid, struct sight *ret)
{
	char path[64];
	autofree char *text = NULL;
	size_t length;
	int r;

	*ret = (struct sight){.process.pid = pid};
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	r = file_read(AT_FDCWD, path, STAT_MAX, &text, &length);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	return sight_parse(text, ret);
}

int process_find(pid_t pid, struct process *ret)
{
	struct sight sight;
	int r = sight_read(pid, &sight);

	if (r < 0)
		return r;
	*ret = sight.process;
	return sight.dead ? -ESRCH : 0;
}

int process_open(const struct process *process)
{
	autoclose int fd = pidfd_open(process->pid, 0);
	struct process now;
	int r;

	if (fd < 0)
		return -errno;
	/* The descriptor is of whoever has the pid at that moment: look who that was. */
	r = process_find(process->pid, &now);
	if (r == 0 && now.start != process->start)
		r = -ESRCH;
	return r < 0 ? r : TAKE_FD(fd);
}

static bool has_mark(pid_t pid, const char *mark)
{
	char path[64];
	autofree char *text = NULL;
	size_t length;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	if (file_read(AT_FDCWD, path, ENVIRONMENT_MAX, &text, &length) < 0)
		return false;
	for (const char *p = text; p < text + length; p += strlen(p) + 1)
		if (streq(p, mark))
			return true;
	return false;
}

static int sights_add(struct sights *s, pid_t pid)
{
	struct sight sight, *grown;

	/* One that has ended meanwhile is none. */
	if (sight_read(pid, &sight) < 0)
		return 0;
	if ((s->count & (s->count - 1)) == 0) {
		grown = reallocarray(s->items, s->count ? 2 * s->count : 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		s->items = grown;
	}
	s->items[s->count++] = sight;
	return 0;
}

static int sights_load(struct sights *s)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return -errno;
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			r = sights_add(s, (pid_t)atoi(entry->d_name));
	closedir(dir);
	return r;
}

static bool parent_is_doomed(const struct sights *s, const struct sight *child, pid_t ancestor)
{
	if (child->parent == ancestor)
		return ancestor > 0;
	for (size_t i = 0; i < s->count; i++)
		if (s->items[i].process.pid == child->parent)
			return s->items[i].doomed;
	return false;
}

/* Returns how many live processes are to be killed. */
static size_t sights_doom(struct sights *s, pid_t ancestor, const char *mark)
{
	bool changed = true;
	size_t count = 0;

	for (size_t i = 0; mark && i < s->count; i++)
		s->items[i].doomed = s->items[i].process.pid != getpid() && !s->items[i].dead &&
				     has_mark(s->items[i].process.pid, mark);
	while (changed) {
		changed = false;
		for (size_t i = 0; i < s->count; i++) {
			struct sight *sight = &s->items[i];

			if (sight->doomed || sight->process.pid == getpid() ||
				!parent_is_doomed(s, sight, ancestor))
				continue;
			sight->doomed = changed = true;
		}
	}
	for (size_t i = 0; i < s->count; i++)
		count += s->items[i].doomed && !s->items[i].dead;
	return count;
}

/* Returns whether there is one that we may kill. */
static bool sights_kill(const struct sights *s)
{
	bool all_denied = true;

	for (size_t i = 0; i < s->count; i++)
		if (s->items[i].doomed && !s->items[i].dead) {
			autoclose int fd = process_open(&s->items[i].process);

			if (fd < 0 || pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0 ||
				errno != EPERM)
				all_denied = false;
		}
	return !all_denied;
}

/* Returns whether there are some left. */
static bool reap_children(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		;
	return pid == 0;
}

int process_kill_all(pid_t ancestor, const char *mark, int timeout_ms)
{
	uint64_t deadline = deadline_in_ms(timeout_ms);

	for (;;) {
		struct sights sights AUTO(sights_done) = {0};
		int r;

		if (ancestor == getpid() && !reap_children() && !mark)
			return 0;
		r = sights_load(&sights);
		if (r < 0)
			return r;
		/* Those that were dead already, and whoever they have left to us since. */
		if (sights_doom(&sights, ancestor, mark) == 0 &&
			(ancestor != getpid() || !reap_children()))
			return 0;
		if (deadline_left_ms(deadline) == 0)
			return -ETIMEDOUT;
		if (!sights_kill(&sights))
			return 0;
		poll(NULL, 0, PAUSE_MS);
	}
}

char *process_read(pid_t pid, const char *name)
{
	autofree char *path = path_format("/proc/%d/%s", (int)pid, name);
	char *text = NULL;
	size_t length;

	return path && file_read(AT_FDCWD, path, PROC_TEXT_MAX, &text, &length) >= 0 ? text : NULL;
}
