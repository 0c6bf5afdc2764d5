#include "hypervisor/servant.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"

#define SERVANT_GROUPS_MAX 32

struct servant {
	char *state, *home, *program;
	uid_t uid;
	gid_t gid, groups[SERVANT_GROUPS_MAX]; /* such as that of /dev/kvm */
	int group_count;
};

/* An account's name, or a number. */
static int find_user(struct servant *s, const char *name)
{
	const struct passwd *account = getpwnam(name);
	uint64_t number;

	if (account) {
		s->uid = account->pw_uid;
		s->gid = account->pw_gid;
		s->group_count = SERVANT_GROUPS_MAX;
		if (getgrouplist(name, s->gid, s->groups, &s->group_count) < 0)
			s->group_count = 0;
	} else if (parse_number(name, 1, UINT32_MAX - 1, &number, NULL) == 0) {
		s->uid = s->gid = (uid_t)number;
	} else {
		log_warning("no templates are made: there is no account '%s' for it; make it with "
			    "`useradd --system %s`, or set [node] user",
			name, name);
		return -ENOENT;
	}
	if (s->uid == 0)
		log_warning("no templates are made: [node] user must not be root");
	return s->uid == 0 ? -EPERM : 0;
}

/* The directory is handed to that user: below it nothing is trusted. */
static int make_home(struct servant *s, struct error *err)
{
	int r = file_make_dirs(s->home, 0700);
	autoclose int fd =
		r < 0 ? -1 : open(s->home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fchown(fd, s->uid, s->gid) < 0)
		return fail_errno(err, r < 0 ? r : -errno, "cannot make '%s'", s->home);
	return 0;
}

/* Root's, for the servant to read: with settings of its own it would be its own master. */
static int write_settings(
	const struct servant *s, const struct settings *settings, struct error *err)
{
	autofree char *directory = path_format("%s/maker-config/wnodes", s->state);
	autofree char *file = path_format("%s/maker-config/wnodes/wnodes.conf", s->state);
	autofree char *text = path_format("[record]\nfile = none\n[vm]\nbroker = none\naccel = %s\n"
					  "disk_thread = %s\n%s%s\n",
		settings->accel, settings->disk_thread ? "yes" : "no",
		settings->qemu && settings->qemu[0] ? "qemu = " : "",
		settings->qemu ? settings->qemu : "");
	int r = directory && file && text ? file_make_dirs(directory, 0755) : -ENOMEM;

	if (r == 0)
		r = file_replace(AT_FDCWD, file, text, strlen(text), 0644);
	return r < 0 ? fail_errno(err, r, "cannot write '%s'", file ? file : s->state) : 0;
}

/* Beside us in a build directory, else installed. */
static char *find_program(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	autofree char *beside = NULL;

	self[MAX_OF(n, 0)] = '\0';
	if (strrchr(self, '/'))
		*strrchr(self, '/') = '\0';
	beside = path_format("%s/wnodes", self);
	if (beside && access(beside, X_OK) == 0)
		return TAKE_PTR(beside);
	return strdup("wnodes");
}

int servant_new(
	const struct settings *settings, const char *state, struct servant **ret, struct error *err)
{
	struct servant *s AUTO(servant_freep) = calloc(1, sizeof(*s));
	int r;

	*ret = NULL;
	if (!s)
		return fail(err, -ENOMEM, "out of memory");
	s->state = strdup(state);
	s->home = path_format("%s/maker", state);
	s->program = find_program();
	if (!s->state || !s->home || !s->program)
		return fail(err, -ENOMEM, "out of memory");
	if (find_user(s, settings->node_user) < 0)
		return 0;
	r = make_home(s, err);
	if (r == 0)
		r = write_settings(s, settings, err);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r;
}

struct servant *servant_free(struct servant *s)
{
	if (!s)
		return NULL;
	free(s->state);
	free(s->home);
	free(s->program);
	free(s);
	return NULL;
}

uid_t servant_uid(const struct servant *s)
{
	return s->uid;
}

gid_t servant_gid(const struct servant *s)
{
	return s->gid;
}

const char *servant_home(const struct servant *s)
{
	return s->home;
}

static void fill_env(const struct servant *s, struct strv *env)
{
	const char *search = getenv("PATH");

	strv_add_format(env, "PATH=%s", search ? search : "/usr/bin:/bin");
	strv_add_format(env, "HOME=%s", s->home);
	strv_add_format(env, "XDG_CACHE_HOME=%s/cache", s->home);
	strv_add_format(env, "XDG_DATA_HOME=%s/data", s->home);
	strv_add_format(env, "XDG_STATE_HOME=%s/state", s->home);
	strv_add_format(env, "XDG_RUNTIME_DIR=%s/run", s->home);
	strv_add_format(env, "XDG_CONFIG_HOME=%s/maker-config", s->state);
	strv_add_format(env, "WNODES_SYSTEM_STORE=%s", s->state);
	strv_add_format(env, "WNODES_SEEDS=%s/seeds", s->state);
}

static void task_forget(struct servant_task *task)
{
	task->child = sd_event_source_disable_unref(task->child);
	task->deadline = sd_event_source_disable_unref(task->deadline);
	task->pidfd = base_close(task->pidfd);
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct servant_task *task = userdata;
	int status = child_wait(fd, 0);

	task_forget(task);
	task->done(status, task->userdata);
	return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	const struct servant_task *task = userdata;

	log_warning("what runs for the node takes too long, '%s'; giving up", task->name);
	pidfd_send_signal(task->pidfd, SIGKILL, NULL, 0); /* on_end() follows */
	return 0;
}

static int servant_spawn(
	struct servant *s, struct servant_task *task, const struct strv *argv, struct error *err)
{
	struct strv env AUTO(strv_done) = {0};
	struct child_spec child = CHILD_SPEC_INIT;

	fill_env(s, &env);
	if (argv->failed || env.failed)
		return fail(err, -ENOMEM, "out of memory");
	snprintf(task->name, sizeof(task->name), "%s", argv->items[0]);
	child.argv = strv_list(argv);
	child.env = strv_list(&env);
	child.workdir = "/";
	child.new_session = true;
	child.no_new_privs = true;
	child.set_user = true;
	child.uid = s->uid;
	child.gid = s->gid;
	child.groups = s->groups;
	child.group_count = (size_t)s->group_count;
	return child_spawn(&child, NULL, &task->pidfd, err);
}

int servant_start_program(struct servant *s, sd_event *event, struct servant_task *task,
	const struct strv *argv, uint64_t life_us, struct error *err)
{
	int r = servant_spawn(s, task, argv, err);

	if (r < 0)
		return r;
	r = sd_event_add_io(event, &task->child, task->pidfd, EPOLLIN, on_end, task);
	if (r >= 0)
		r = sd_event_add_time_relative(
			event, &task->deadline, CLOCK_MONOTONIC, life_us, 0, on_deadline, task);
	if (r >= 0)
		return 0;
	servant_stop(task);
	return fail_errno(err, r, "cannot watch a child");
}

int servant_start(struct servant *s, sd_event *event, struct servant_task *task,
	const struct strv *arguments, uint64_t life_us, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};

	strv_add(&argv, s->program);
	for (size_t i = 0; i < arguments->count; i++)
		strv_add(&argv, arguments->items[i]);
	if (arguments->failed)
		return fail(err, -ENOMEM, "out of memory");
	return servant_start_program(s, event, task, &argv, life_us, err);
}

void servant_stop(struct servant_task *task)
{
	if (task->pidfd >= 0)
		child_kill(task->pidfd);
	task_forget(task);
}
