/* The child's half runs between fork and exec, with one thread, so it may use what it likes; what
 * fails there is sent to the parent as a `struct error`, which is smaller than what a pipe writes
 * in one piece.
 */
#include "guest/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define PROCESS_PATH "/usr/local/bin:/usr/bin:/bin" /* where the environment has no PATH */

/* As much as may be under way on the link: fewer switches between the process and the agent. */
#define PROCESS_PIPE_SIZE FRAME_WINDOW

_Static_assert(sizeof(struct error) <= PIPE_BUF, "an error is written to its pipe in one piece");

/* The process's ends of what struct process holds our ends of. */
struct child {
	const struct exec_request *request;
	int status_fd;
	int in, out, err;
	struct error error;
};

static void process_close(struct process *p)
{
	p->status_fd = base_close(p->status_fd);
	p->in = base_close(p->in);
	p->out = base_close(p->out);
	p->err = base_close(p->err);
}

static void child_close(struct child *c)
{
	c->status_fd = base_close(c->status_fd);
	c->in = base_close(c->in);
	c->out = base_close(c->out);
	c->err = base_close(c->err);
}

/* A pipe of which the agent's end does not block. The process may open its own end again by the
 * name /dev/stdout, so it must belong to its user. */
static int pipe_open(int *ours, int *theirs, bool to_process, uid_t uid, gid_t gid)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[to_process ? 1 : 0];
	*theirs = fds[to_process ? 0 : 1];
	if (fcntl(*ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	/* Both only make things better; an unprivileged agent may do neither. */
	if (fchown(*theirs, uid, gid) < 0 || fcntl(*ours, F_SETPIPE_SZ, PROCESS_PIPE_SIZE) < 0)
		return 0;
	return 0;
}

static int pipes_open(struct process *p, struct child *c)
{
	const struct exec_request *x = c->request;
	int r = 0;

	if (x->flags & EXEC_STDIN)
		r = pipe_open(&p->in, &c->in, true, x->uid, x->gid);
	else
		c->in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (c->in < 0)
		return r < 0 ? r : -errno;
	if (r == 0)
		r = pipe_open(&p->out, &c->out, false, x->uid, x->gid);
	if (r == 0)
		r = pipe_open(&p->err, &c->err, false, x->uid, x->gid);
	return r;
}

/* The slave is opened through the master, so that no /dev/pts need be mounted for it. */
static int terminal_open(struct process *p, struct child *c)
{
	const struct exec_request *x = c->request;
	int unlock = 0;

	p->tty = true;
	p->out = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (p->out < 0 || ioctl(p->out, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	c->in = ioctl(p->out, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (c->in < 0)
		return -errno;
	if (x->flags & EXEC_STDIN)
		p->in = fcntl(p->out, F_DUPFD_CLOEXEC, 0);
	if (fchown(c->in, x->uid, (gid_t)-1) < 0 && errno != EPERM)
		return -errno;
	return process_resize(p, x->rows, x->columns);
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
static void child_set_limits(const struct message_numbers *limits)
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

static int child_set_user(struct child *c)
{
	const struct exec_request *x = c->request;
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

static int child_set_session(struct child *c)
{
	if (setsid() < 0)
		return fail_errno(&c->error, -errno, "session");
	if ((c->request->flags & EXEC_TTY) && ioctl(c->in, TIOCSCTTY, 0) < 0)
		return fail_errno(&c->error, -errno, "terminal");
	return 0;
}

static int child_set_descriptors(struct child *c)
{
	int out = c->out < 0 ? c->in : c->out, err = c->err < 0 ? c->in : c->err;

	if (dup2(c->in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
		dup2(err, STDERR_FILENO) < 0)
		return fail_errno(&c->error, -errno, "descriptors");
	return 0;
}

static void child_reset_signals(void)
{
	sigset_t none;

	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A service may be protected from the kernel's out-of-memory killer; its commands are not. */
static void child_reset_oom(void)
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
	const char *search = PROCESS_PATH, *found;
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
			int error = exec_file(path, argv, env);
			if (!exec_goes_on(error))
				return error;
			best = error == EACCES ? error : best;
		}
		if (!search[n])
			break;
	}
	return best;
}

static int child_prepare(struct child *c)
{
	const struct exec_request *x = c->request;
	int r;

	child_reset_oom();
	r = child_set_session(c);
	if (r == 0)
		r = child_set_descriptors(c);
	if (r < 0)
		return r;
	umask(x->umask & 0777);
	child_set_limits(&x->limits);
	r = child_set_user(c);
	if (r == 0 && x->workdir[0] && chdir(x->workdir) < 0)
		r = fail_errno(&c->error, -errno, "chdir: cannot enter '%s'", x->workdir);
	child_reset_signals();
	return r;
}

static void __attribute__((noreturn)) child_run(struct child *c)
{
	const struct exec_request *x = c->request;
	ssize_t n;
	int r;

	if (child_prepare(c) == 0) {
		r = exec_search(x->argv, x->env);
		if (r == ENOENT && access(x->argv[0], F_OK) == 0 && strchr(x->argv[0], '/'))
			fail(&c->error, -r, "exec: '%s' needs a program that is missing",
				x->argv[0]);
		else
			fail_errno(&c->error, -r, "exec: cannot run '%s'", x->argv[0]);
	}
	n = write(c->status_fd, &c->error, sizeof(c->error));
	(void)n; /* the parent sees the end of the process in any case */
	_exit(127);
}

static int process_open(struct process *p, struct child *c, struct error *err)
{
	int fds[2], r;

	r = c->request->flags & EXEC_TTY ? terminal_open(p, c) : pipes_open(p, c);
	if (r < 0)
		return fail_errno(err, r, "%s", p->tty ? "terminal" : "pipe");
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail_errno(err, -errno, "pipe");
	p->status_fd = fds[0];
	c->status_fd = fds[1];
	return 0;
}

int process_start(const struct exec_request *request, struct process *ret, struct error *err)
{
	struct process p = {.status_fd = -1, .in = -1, .out = -1, .err = -1};
	struct child c = {.request = request, .status_fd = -1, .in = -1, .out = -1, .err = -1};
	int r;

	if (!request->argv[0])
		return fail(err, -EINVAL, "exec: no command");
	r = process_open(&p, &c, err);
	if (r == 0) {
		p.pid = fork();
		if (p.pid == 0)
			child_run(&c);
		if (p.pid < 0)
			r = fail_errno(err, -errno, "fork");
	}
	child_close(&c);
	if (r < 0)
		process_close(&p);
	*ret = p;
	return r;
}

void process_end(struct process *p)
{
	process_close(p);
	if (p->pid > 0)
		kill(p->pid, SIGKILL);
}

/* Does the process handle or ignore this signal? */
static bool process_minds(pid_t pid, int signo)
{
	unsigned long long mask, minded = 0;
	char path[40], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "SigIgn: %llx", &mask) == 1 ||
			sscanf(line, "SigCgt: %llx", &mask) == 1)
			minded |= mask;
	if (file)
		fclose(file);
	return minded >> (signo - 1) & 1;
}

/* The kernel does not stop a process by SIGTSTP when no parent in its session could continue it,
 * and ours has none. Here the host's user can: what does not mind the signal gets SIGSTOP. */
static int process_stop_signal(const struct process *p, int signo)
{
	if (signo == SIGTSTP && !p->tty && !process_minds(p->pid, signo))
		return SIGSTOP;
	return signo;
}

int process_signal(const struct process *p, int signo, bool group)
{
	pid_t front = p->pid;

	if (p->pid <= 0)
		return -ESRCH;
	signo = process_stop_signal(p, signo);
	if (!group)
		return kill(p->pid, signo) < 0 ? -errno : 0;
	if (p->tty && p->out >= 0 && ioctl(p->out, TIOCGPGRP, &front) == 0 && front <= 0)
		front = p->pid;
	if (kill(-front, signo) == 0)
		return 0;
	/* Just forked, it has not made its own group yet. */
	return kill(p->pid, signo) < 0 ? -errno : 0;
}

int process_resize(const struct process *p, uint32_t rows, uint32_t columns)
{
	struct winsize size = {
		.ws_row = (unsigned short)MIN_OF(rows, UINT16_MAX),
		.ws_col = (unsigned short)MIN_OF(columns, UINT16_MAX),
	};

	if (!p->tty || p->out < 0)
		return -ENOTTY;
	return ioctl(p->out, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}
