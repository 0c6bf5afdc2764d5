/* The loop goes on meanwhile: the end of a program is noticed where all children are reaped. */
#include "guest/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>

#include "guest/now.h"

int program_find(const char *root, const char *name, char *ret, size_t size)
{
	static const char *const directories[] = {"/sbin", "/usr/sbin", "/bin", "/usr/bin"};

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		int n = snprintf(ret, size, "%s%s/%s", root, directories[i], name);
		if (n > 0 && (size_t)n < size && access(ret, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

static void child_set_up(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	if (fd >= 0) {
		dup2(fd, STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
	}
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int program_fork(struct program *p, int64_t timeout_ms)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		child_set_up();
	*p = (struct program){.pid = pid, .deadline = now_ms() + timeout_ms};
	return 0;
}

int program_start(struct program *p, const char *path, const char *const *argv, int64_t timeout_ms)
{
	int r = program_fork(p, timeout_ms);

	if (r == 0 && p->pid == 0) {
		execv(path, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return r;
}

int program_call(struct program *p, int (*function)(void *), void *argument, int64_t timeout_ms)
{
	int r = program_fork(p, timeout_ms);

	if (r == 0 && p->pid == 0)
		_exit(function(argument));
	return r;
}

bool program_runs(struct program *p)
{
	if (p->pid > 0 && now_ms() >= p->deadline)
		program_stop(p);
	return p->pid > 0;
}

void program_stop(struct program *p)
{
	if (p->pid > 0)
		kill(p->pid, SIGKILL);
	*p = (struct program){.status = SIGKILL};
}

bool program_on_exit(struct program *p, pid_t pid, int status)
{
	if (p->pid == 0 || pid != p->pid)
		return false;
	p->pid = 0;
	p->status = status;
	return true;
}
