/* It has one thread, so it may use what it likes; what fails is sent to the agent as a `struct
 * error`, which is smaller than what a pipe writes in one piece.
 */
#include "guest/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define EXEC_PATH "/usr/local/bin:/usr/bin:/bin" /* where the environment has no PATH */

_Static_assert(sizeof(struct error) <= PIPE_BUF, "an error is written to its pipe in one piece");

void exec_close(struct exec *x)
{
	x->status_fd = base_close(x->status_fd);
	x->in = base_close(x->in);
	x->out = base_close(x->out);
	x->err = base_close(x->err);
}

/* RLIMIT_* of Linux whose unit is bytes: FSIZE DATA STACK CORE RSS MEMLOCK AS MSGQUEUE. */
static bool limit_is_bytes(uint32_t resource)
{
	return resource < 32 && (0x133eu >> resource & 1);
}

static rlim_t limit_value(uint32_t resource, uint32_t value)
{
	if (value == UINT32_MAX)
		return RLIM_INFINITY;
	return limit_is_bytes(resource) ? (rlim_t)value * 1024 : value;
}

/* A limit that this kernel does not know, or allows only lower ones of, stays as it is: the same
 * happens to a job that moves to another node. */
static void exec_set_limits(const struct message_numbers *limits)
{
	for (uint32_t i = 0; i + 2 < limits->count; i += 3) {
		const uint32_t *v = limits->values + i;
		struct rlimit limit = {
			.rlim_cur = limit_value(v[0], v[1]),
			.rlim_max = limit_value(v[0], v[2]),
		};
		setrlimit((int)v[0], &limit);
	}
}

/* A VM that has fewer runs it on those that it has, as it would without a choice. */
static void exec_set_cpus(const struct message_numbers *cpus)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (uint32_t i = 0; i < cpus->count; i++)
		if (cpus->values[i] < CPU_SETSIZE)
			CPU_SET(cpus->values[i], &set);
	if (CPU_COUNT(&set) > 0)
		sched_setaffinity(0, sizeof(set), &set);
}

static int exec_set_user(struct exec *c, const struct exec_request *x)
{
	gid_t *gids autofree = NULL;

	if (geteuid() != 0)
		return x->uid == geteuid() ? 0 : fail(&c->error, -EPERM, "user: not root");
	gids = calloc((size_t)x->gids.count + 1, sizeof(*gids));
	if (!gids)
		return fail_errno(&c->error, -ENOMEM, "user");
	for (uint32_t i = 0; i < x->gids.count; i++)
		gids[i] = x->gids.values[i];
	if (setgroups(x->gids.count, gids) < 0)
		return fail_errno(&c->error, -errno, "user: %u groups", x->gids.count);
	if (setresgid(x->gid, x->gid, x->gid) < 0 || setresuid(x->uid, x->uid, x->uid) < 0)
		return fail_errno(&c->error, -errno, "user %u, group %u", x->uid, x->gid);
	return 0;
}

static int exec_set_session(struct exec *x, bool tty)
{
	if (setsid() < 0)
		return fail_errno(&x->error, -errno, "session");
	if (tty && ioctl(x->in, TIOCSCTTY, 0) < 0)
		return fail_errno(&x->error, -errno, "terminal");
	return 0;
}

static int exec_set_input(struct exec *x)
{
	if (dup2(x->in, STDIN_FILENO) < 0)
		return fail_errno(&x->error, -errno, "input");
	return 0;
}

int exec_close_input(struct exec *x)
{
	x->in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return exec_set_input(x);
}

static int exec_set_outputs(struct exec *x, bool tty)
{
	if (dup2(tty ? x->in : x->out, STDOUT_FILENO) < 0 ||
		dup2(tty ? x->in : x->err, STDERR_FILENO) < 0)
		return fail_errno(&x->error, -errno, "output");
	return 0;
}

static void exec_reset_signals(void)
{
	sigset_t none;

	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A service may be protected from the kernel's out-of-memory killer; its commands are not. */
static void exec_reset_oom(void)
{
	int fd autoclose = -1;
	ssize_t n;

	if (getppid() == 1)
		return;
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : write(fd, "0", 1);
	(void)n;
}

/* As shells do for a file without "#!". */
static void exec_script(const char *path, const char **argv, const char **env)
{
	size_t n = 0;
	const char **list autofree = NULL;

	while (argv[n])
		n++;
	list = calloc(n + 2, sizeof(*list));
	if (!list)
		return;
	list[0] = "sh";
	list[1] = path;
	memcpy(list + 2, argv + 1, n * sizeof(*list));
	execve("/bin/sh", (char *const *)(uintptr_t)list, (char *const *)(uintptr_t)env);
	errno = ENOEXEC;
}

/* Returns only if it fails, with its errno. */
static int exec_file(const char *path, const char **argv, const char **env)
{
	execve(path, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
	if (errno == ENOEXEC)
		exec_script(path, argv, env);
	return errno;
}

/* The errors after which execvp(3) looks into the next directory. */
static bool exec_goes_on(int error)
{
	return error == ENOENT || error == ENOTDIR || error == EACCES || error == ESTALE ||
	       error == ENODEV || error == ETIMEDOUT;
}

/* Returns the errno of the best reason why nothing could be started. */
static int exec_search(const char **argv, const char **env)
{
	const char *search = EXEC_PATH, *found;
	char path[PATH_MAX];
	int best = ENOENT;
	size_t n;

	if (strchr(argv[0], '/'))
		return exec_file(argv[0], argv, env);
	for (const char **e = env; *e; e++)
		if ((found = str_after(*e, "PATH=")))
			search = found;
	for (; argv[0][0]; search += n + 1) {
		n = strcspn(search, ":");
		if (snprintf(path, sizeof(path), "%.*s%s%s", (int)n, search, n ? "/" : "",
			    argv[0]) < (int)sizeof(path)) {
			/* The kernel makes a whole address space before it looks for the file. */
			int error = access(path, X_OK) < 0 ? errno : exec_file(path, argv, env);
			if (!exec_goes_on(error))
				return error;
			best = error == EACCES ? error : best;
		}
		if (!search[n])
			break;
	}
	return best;
}

int exec_settle(struct exec *x, bool tty)
{
	int r;

	exec_reset_oom();
	exec_reset_signals();
	r = exec_set_session(x, tty);
	if (r == 0)
		r = x->in < 0 ? exec_close_input(x) : exec_set_input(x);
	return r < 0 ? r : exec_set_outputs(x, tty);
}

static int exec_prepare(struct exec *c, const struct exec_request *x)
{
	int r;

	umask(x->umask & 0777);
	exec_set_limits(&x->limits);
	exec_set_cpus(&x->cpus);
	r = exec_set_user(c, x);
	if (r == 0 && x->workdir[0] && chdir(x->workdir) < 0)
		r = fail_errno(&c->error, -errno, "chdir: cannot enter '%s'", x->workdir);
	return r;
}

void exec_fail(struct exec *x)
{
	ssize_t n = write(x->status_fd, &x->error, sizeof(x->error));

	(void)n; /* the parent sees the end of the process in any case */
	_exit(127);
}

void exec_run(struct exec *c, const struct exec_request *x)
{
	int r;

	if (exec_prepare(c, x) == 0) {
		r = exec_search(x->argv, x->env);
		if (r == ENOENT && access(x->argv[0], F_OK) == 0 && strchr(x->argv[0], '/'))
			fail(&c->error, -r, "exec: '%s' needs a program that is missing",
				x->argv[0]);
		else
			fail_errno(&c->error, -r, "exec: cannot run '%s'", x->argv[0]);
	}
	exec_fail(c);
}
