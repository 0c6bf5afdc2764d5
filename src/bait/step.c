#include "bait/step.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/attach.h"
#include "engine/run.h"
#include "engine/rundir.h"
#include "lib/exit.h"
#include "lib/file.h"
#include "lib/path.h"

#define STEP_LOCK    "lock"
#define STEP_CONTROL "control"
#define STEP_FAILED  "failed"

/* How often a task looks for the control socket, which is there within milliseconds. */
#define STEP_POLL_US 5000

/* The keeper has only files to remove when it lets go of its VM. */
#define STEP_END_POLLS 2000

/* For tasks that start later than the first, as srun starts them on a busy node. */
#define STEP_WAIT_US (UINT64_C(120) * 1000000)

/* How long what a dead step left is kept, so that its late tasks learn why. */
#define STEP_KEEP_S 3600

struct step {
	const struct arguments *arguments;
	struct request *request;
	char *directory;
	int directory_fd;
	int guardian_fd; /* pidfd of slurmstepd, the tasks' parent; -1: none */
};

static void step_done(struct step *s)
{
	free(s->directory);
	base_close(s->directory_fd);
	base_close(s->guardian_fd);
}

static const char *variable(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && value[0] && !strchr(value, '/') ? value : otherwise;
}

char *step_name(void)
{
	const char *job = variable("SLURM_JOB_ID", NULL), *step = variable("SLURM_STEP_ID", NULL);

	if (!job || !step)
		return NULL;
	/* A requeued job has the same number. */
	return path_format("slurm-%s.%s-%s-%s", job, step, variable("SLURM_RESTART_COUNT", "0"),
		variable("SLURMD_NODENAME", "node"));
}

/* Returns an open file whose lock is ours, -EWOULDBLOCK if it is another's, or negative errno. */
static int step_lock(int directory_fd)
{
	autoclose int fd =
		openat(directory_fd, STEP_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : file_lock(fd, true, false);

	return r < 0 ? r : TAKE_FD(fd);
}

/* Removes what is left of steps that ended long ago without their keeper. */
static void steps_sweep(int parent_fd)
{
	int copy = openat(parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		autoclose int fd =
			e->d_name[0] == '.'
				? -1
				: openat(parent_fd, e->d_name,
					  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		struct stat st;
		autoclose int lock = -1;

		if (fd < 0 || fstat(fd, &st) < 0 || st.st_mtime + STEP_KEEP_S > time(NULL))
			continue;
		lock = step_lock(fd);
		if (lock >= 0)
			file_remove_tree(parent_fd, e->d_name);
	}
	if (dir)
		closedir(dir);
}

static int step_open(struct step *s, const char *name, struct error *err)
{
	autofree char *runtime = NULL, *parent = NULL;
	autoclose int parent_fd = -1;
	int r = rundir_open_parent(&runtime, err);

	if (r < 0)
		return r;
	parent = path_format("%s/steps", runtime);
	s->directory = path_format("%s/steps/%s", runtime, name);
	if (!parent || !s->directory)
		return fail(err, -ENOMEM, "out of memory");
	r = file_make_dirs(s->directory, 0700);
	if (r == 0)
		s->directory_fd = open(s->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->directory_fd < 0)
		return fail_errno(err, r < 0 ? r : -errno, "cannot make '%s'", s->directory);
	parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent_fd >= 0)
		steps_sweep(parent_fd);
	return 0;
}

static int step_read_failure(const struct step *s, struct error *err)
{
	autofree char *text = NULL;
	size_t length;

	if (file_read(s->directory_fd, STEP_FAILED, ERROR_TEXT_MAX, &text, &length) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	return fail(err, -EIO, "%s", text);
}

/* What the keeper must not have: the streams of the task that starts it, which the batch system
 * waits for, its terminal, its binding to a part of the CPUs. Errors still reach the task's stderr
 * while it has one. */
static void keeper_detach(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	cpu_set_t all;

	setsid();
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(null);
	}
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
}

static void __attribute__((noreturn)) keeper_run(struct step *s)
{
	autofree char *link = path_format("%s/" STEP_CONTROL, s->directory);
	const struct request_tasks tasks = {.count = s->arguments->local_tasks,
		.wait_us = STEP_WAIT_US,
		.link = link,
		.guardian_fd = s->guardian_fd};
	struct request request = *s->request;
	int code = EXIT_WNODES;

	keeper_detach();
	request.argv = NULL;
	request.tasks = &tasks;
	request.tty = false;
	unlinkat(s->directory_fd, STEP_CONTROL, 0);
	if (link)
		code = run_execute(&request);
	if (code == 0)
		file_remove_tree(AT_FDCWD, s->directory);
	else
		file_replace(s->directory_fd, STEP_FAILED, "the VM of this step failed\n",
			strlen("the VM of this step failed\n"), 0600);
	_exit(code);
}

/* Returns 1 if there is a keeper now, be it another task's, or negative errno. */
static int step_keep(struct step *s, struct error *err)
{
	autoclose int lock = step_lock(s->directory_fd);
	pid_t pid;
	int r;

	if (lock == -EWOULDBLOCK)
		return 1;
	if (lock < 0)
		return fail_errno(err, lock, "cannot lock '%s'", s->directory);
	r = step_read_failure(s, err);
	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0)
		keeper_run(s); /* has the lock as long as it lives */
	return pid < 0 ? fail_errno(err, -errno, "fork") : 1;
}

/* The control socket of the step's VM. Returns a descriptor or negative errno. */
static int step_connect(struct step *s, struct error *err)
{
	autofree char *control = path_format("%s/" STEP_CONTROL, s->directory);
	int r = control ? 0 : fail(err, -ENOMEM, "out of memory"), fd;

	while (r >= 0) {
		struct error unused = {0};

		r = step_keep(s, err);
		if (r < 0)
			return r;
		fd = attach_open(control, &unused);
		if (fd >= 0)
			return fd;
		usleep(STEP_POLL_US);
	}
	return r;
}

/* This task's part of the VM's CPUs, in the order of the tasks. */
static size_t task_cpus(const struct step *s, uint32_t *ret)
{
	uint64_t count = s->arguments->local_tasks, cpus = s->request->cpus, first, end;
	const char *local = getenv("SLURM_LOCALID");
	uint64_t rank = local ? strtoull(local, NULL, 10) : 0;

	if (!local || cpus < count || rank >= count)
		return 0;
	first = rank * cpus / count;
	end = (rank + 1) * cpus / count;
	for (uint64_t i = first; i < end; i++)
		ret[i - first] = (uint32_t)i;
	return end - first;
}

/* With the last task the batch system ends all that is left of the step. */
static void step_wait_for_keeper(const struct step *s)
{
	for (int i = 0; i < STEP_END_POLLS; i++) {
		autoclose int lock = step_lock(s->directory_fd);

		if (lock != -EWOULDBLOCK)
			return;
		usleep(STEP_POLL_US);
	}
}

int step_run(
	const struct arguments *a, const char *name, struct request *request, struct error *err)
{
	struct step s AUTO(step_done) = {
		.arguments = a, .request = request, .directory_fd = -1, .guardian_fd = -1};
	uint32_t cpus[256];
	bool last = false;
	struct attach_command command = {
		.argv = (const char *const *)request->argv,
		.env = strv_list(&request->env),
		.workdir = request->workdir,
		.tty = request->tty,
		.wait = true,
		.patient = true,
		.cpus = cpus,
		.ret_last = &last,
	};
	autoclose int socket = -1;
	int r = step_open(&s, name, err);

	if (r < 0)
		return r;
	/* Killed, it ends no process, and the keeper is not its child. */
	if (a->lrms && streq(a->lrms, "slurm"))
		s.guardian_fd = pidfd_open(getppid(), 0);
	if (!request->crew || !request->crew->together)
		command.cpu_count = task_cpus(&s, cpus);
	socket = step_connect(&s, err);
	r = socket < 0 ? socket : attach_exec(socket, &command, err);
	if (last)
		step_wait_for_keeper(&s);
	return r;
}
