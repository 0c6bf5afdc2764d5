/* As PID 1 all processes are ours and kill(-1) reaches them. Under another init only what EXEC
 * started is: the agent is made the reaper of its descendants, so they are found as the tree below
 * it. In both cases "no child left to wait for" means that all have ended.
 */
#include "guest/power.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <sys/wait.h>

#include "guest/call.h"
#include "guest/console.h"
#include "guest/disk.h"
#include "guest/guest.h"
#include "guest/now.h"

#define POWER_TICK_MS      10
#define POWER_KILL_MS      2000 /* a process in an uninterruptible wait may not end at all */
#define POWER_DRAIN_MS     1000
#define POWER_REPLY_MS     1000
#define POWER_GRACE_MAX_MS 600000

#define POWER_TREE_MAX 4096 /* processes of one VM's jobs that are looked at in one go */

struct tree_entry {
	pid_t pid, parent;
	bool ours;
};

/* The parent of a process, from its "stat": the name before it may contain anything. */
static pid_t tree_parent(const char *pid)
{
	char path[64], text[512];
	const char *end;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	if (disk_read(path, text, sizeof(text)) < 0)
		return 0;
	end = strrchr(text, ')');
	return end && strlen(end) > 4 ? (pid_t)atoi(end + 4) : 0;
}

static size_t tree_load(struct tree_entry *tree)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	size_t n = 0;

	if (!dir)
		return 0;
	while (n < POWER_TREE_MAX && (e = readdir(dir))) {
		pid_t pid = (pid_t)atoi(e->d_name);
		if (pid > 1)
			tree[n++] = (struct tree_entry){pid, tree_parent(e->d_name), false};
	}
	closedir(dir);
	return n;
}

static bool tree_is_ours(const struct tree_entry *tree, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (tree[i].pid == pid)
			return tree[i].ours;
	return false;
}

/* All processes, or those that are our descendants; never those that serve a mount, which is to be
 * flushed when its users have ended. */
static void tree_signal(const struct guest *g, int signo)
{
	struct tree_entry *tree autofree = calloc(POWER_TREE_MAX, sizeof(*tree));
	size_t n = tree ? tree_load(tree) : 0;
	bool found = true;

	while (found) {
		found = false;
		for (size_t i = 0; i < n; i++)
			if (!tree[i].ours && (g->is_init || tree[i].parent == getpid() ||
						     tree_is_ours(tree, n, tree[i].parent)))
				tree[i].ours = found = true;
	}
	for (size_t i = 0; i < n; i++)
		if (tree[i].ours && !sshfs_has(&g->sshfs, tree[i].pid))
			kill(tree[i].pid, signo);
}

static void power_signal(const struct guest *g, int signo)
{
	if (g->is_init && g->sshfs.count == 0)
		kill(-1, signo);
	else
		tree_signal(g, signo);
	/* What is stopped could not end otherwise. */
	if (signo == SIGTERM)
		power_signal(g, SIGCONT);
}

int power_on_call(const struct call *c)
{
	const struct shutdown *x = c->message;
	struct guest *g = c->guest;

	if (x->how > SHUTDOWN_POWER_OFF)
		return fail(c->err, -EINVAL, "unknown kind of shutdown %u", x->how);
	g->power = (struct power){
		.state = POWER_TERM,
		.id = c->id,
		.off = x->how == SHUTDOWN_POWER_OFF,
		.deadline = now_ms() + MIN_OF(x->grace_ms, (uint32_t)POWER_GRACE_MAX_MS),
	};
	sshfs_end_spares(&g->sshfs);
	power_signal(g, SIGTERM);
	return CALL_LATER;
}

/* Are there any but those that serve mounts? */
static bool power_has_users(const struct guest *g)
{
	struct tree_entry *tree autofree = NULL;
	bool found = false;
	size_t n;

	if (g->sshfs.count == 0 || !power_has_processes())
		return power_has_processes();
	tree = calloc(POWER_TREE_MAX, sizeof(*tree));
	n = tree ? tree_load(tree) : 0;
	for (size_t i = 0; i < n && !found; i++)
		found = tree[i].parent == getpid() && !sshfs_has(&g->sshfs, tree[i].pid);
	return found;
}

bool power_has_processes(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* The root file system is thrown away with the VM, unless someone asked for an orderly end. */
static int power_finish(struct guest *g, int64_t now)
{
	static const struct pollset nothing;
	int r = streams_give_up(&g->streams, &g->link);

	if (r == 0)
		r = streams_serve(&g->streams, &g->link, &nothing, now);
	if (r < 0)
		return r;
	mounts_done(&g->mounts);
	if (g->power.off && g->may_power_off)
		sync();
	g->power.state = g->power.off ? POWER_REPLY : POWER_ON;
	g->power.deadline = now + POWER_REPLY_MS;
	return link_send_reply(&g->link, g->power.id, NULL, NULL);
}

static int power_step(struct guest *g, int64_t now)
{
	struct power *p = &g->power;
	bool late = now >= p->deadline;

	switch (p->state) {
	case POWER_ON:
		break;
	case POWER_TERM:
	case POWER_KILL:
		if (!power_has_users(g) || (p->state == POWER_KILL && late)) {
			p->state = POWER_DRAIN;
			p->deadline = now + POWER_DRAIN_MS;
		} else if (p->state == POWER_KILL || late) {
			p->deadline = p->state == POWER_TERM ? now + POWER_KILL_MS : p->deadline;
			p->state = POWER_KILL;
			power_signal(g, SIGKILL);
		}
		break;
	case POWER_DRAIN:
		if (g->streams.count == 0 || late)
			return power_finish(g, now);
		break;
	case POWER_REPLY:
		if (g->link.out.len == 0 || late)
			power_off(g);
		break;
	}
	return 0;
}

int power_tick(struct guest *g, int64_t now)
{
	enum power_state before;
	int r;

	do {
		before = g->power.state;
		r = power_step(g, now);
	} while (r == 0 && g->power.state != before);
	return r;
}

void power_poll(const struct guest *g, struct pollset *set)
{
	if (g->power.state != POWER_ON)
		pollset_wake(set, POWER_TICK_MS);
}

void power_off_now(void)
{
	reboot(RB_POWER_OFF);
	console_print("cannot power off: %s", strerror(errno));
	/* Of PID 1 this is a panic, which ends the VM too. */
	_exit(1);
}

void power_off(struct guest *g)
{
	g->stop = true;
	if (g->may_power_off)
		power_off_now();
}
