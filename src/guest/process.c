/* The agent's half of a process: its pipes or its terminal, its signals. */
#include "guest/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>

/* As much as may be under way on the link: fewer switches between the process and the agent. */
#define PROCESS_PIPE_SIZE FRAME_WINDOW

static void process_close(struct process *p)
{
	p->status_fd = base_close(p->status_fd);
	p->in = base_close(p->in);
	p->out = base_close(p->out);
	p->err = base_close(p->err);
}

/* A pipe of which the agent's end does not block. */
static int pipe_open(int *ours, int *theirs, bool to_process)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[to_process ? 1 : 0];
	*theirs = fds[to_process ? 0 : 1];
	if (fcntl(*ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	/* It only makes things better; an unprivileged agent may not. */
	if (fcntl(*ours, F_SETPIPE_SZ, PROCESS_PIPE_SIZE) < 0)
		return 0;
	return 0;
}

static int status_open(struct process *p, struct exec *x)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	p->status_fd = fds[0];
	x->status_fd = fds[1];
	return 0;
}

int process_open(struct process *p, struct exec *x, bool input)
{
	int r = input ? pipe_open(&p->in, &x->in, true) : 0;

	if (r == 0)
		r = pipe_open(&p->out, &x->out, false);
	if (r == 0)
		r = pipe_open(&p->err, &x->err, false);
	return r < 0 ? r : status_open(p, x);
}

void process_own(const struct process *p, uid_t uid, gid_t gid)
{
	const int fds[] = {p->in, p->out, p->err};

	/* An unprivileged agent may not, and its processes have its user. */
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0 && fchown(fds[i], uid, gid) < 0)
			return;
}

/* The slave is opened through the master, so that no /dev/pts need be mounted for it. */
static int terminal_open(struct process *p, struct exec *c, const struct exec_request *x)
{
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
	process_resize(p, x->rows, x->columns);
	return status_open(p, c);
}

static void __attribute__((noreturn)) child_run(struct exec *c, const struct exec_request *x)
{
	if (exec_settle(c, x->flags & EXEC_TTY) < 0)
		exec_fail(c);
	exec_run(c, x);
}

int process_start(const struct exec_request *x, struct process *ret, struct error *err)
{
	struct process p = PROCESS_NONE;
	struct exec c = EXEC_NONE;
	int r;

	if (!x->argv[0])
		return fail(err, -EINVAL, "exec: no command");
	if (x->flags & EXEC_TTY) {
		r = terminal_open(&p, &c, x);
	} else {
		r = process_open(&p, &c, x->flags & EXEC_STDIN);
		process_own(&p, x->uid, x->gid);
	}
	p.pid = r == 0 ? fork() : 0;
	if (r == 0 && p.pid == 0)
		child_run(&c, x);
	if (p.pid < 0)
		r = -errno;
	exec_close(&c);
	if (r < 0)
		process_close(&p);
	*ret = p;
	return r < 0 ? fail_errno(err, r, "%s", p.tty ? "terminal" : "process") : 0;
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
