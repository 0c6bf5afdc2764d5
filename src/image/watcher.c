#include "image/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/deadline.h"

/* For the program to remove its temporary files, and then for what it left behind: fakeroot's
 * daemon has message queues to remove. */
#define WATCHER_GRACE_MS   15000
#define WATCHER_ORPHANS_MS 2000
#define WATCHER_KILL_MS    5000
#define WATCHER_POLL_MS    20

#define CHILDREN_MAX 4096 /* bytes of their list that are read at a time */

/* How the start went. */
struct start {
	int result;
	struct error err;
};

/* Out of reach of the terminal. */
static void detach(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

	setsid();
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_IGN);
	prctl(PR_SET_NAME, "wnodes-watcher");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* Sends a signal to each of our children, among which are all orphans. */
static void signal_children(int signo)
{
	char path[64], list[CHILDREN_MAX] = "";
	const char *next = list;
	FILE *file;
	int pid, n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(list, sizeof(list), file))
		for (; sscanf(next, "%d%n", &pid, &n) == 1 && pid > 1; next += n)
			kill(pid, signo);
	fclose(file);
}

/* Reaps until no child is left. */
static bool await_children(int timeout_ms)
{
	uint64_t deadline = deadline_in_ms(timeout_ms);
	pid_t pid;

	for (;;) {
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			continue;
		if (pid < 0)
			return true;
		if (deadline_left_ms(deadline) == 0)
			return false;
		poll(NULL, 0, WATCHER_POLL_MS);
	}
}

/* The death of one may give us its children, so each of them is a round of its own. */
static void end_orphans(void)
{
	uint64_t deadline = deadline_in_ms(WATCHER_ORPHANS_MS + WATCHER_KILL_MS);
	uint64_t politely = deadline_in_ms(WATCHER_ORPHANS_MS);

	while (!await_children(0) && deadline_left_ms(deadline) > 0) {
		signal_children(deadline_left_ms(politely) > 0 ? SIGTERM : SIGKILL);
		await_children(WATCHER_POLL_MS);
	}
}

/* mmdebstrap waits for its own children, but does not pass the signal on: the group gets it. */
static void end_program(pid_t pid, int pidfd)
{
	kill(-pid, SIGTERM);
	if (child_wait(pidfd, WATCHER_GRACE_MS) == -ETIMEDOUT)
		child_kill(pidfd);
	end_orphans();
}

static void tell(const void *message, size_t length)
{
	/* Nobody there: then there is nobody who wants to know. */
	if (send(STDIN_FILENO, message, length, MSG_NOSIGNAL) < 0)
		errno = 0;
}

/* Out of reach of every lock and pipe that we hold: the link becomes 0, the pidfd 1. */
static void keep_only(int fd, int pidfd)
{
	/* Either may have one of the two numbers itself. */
	int link = fcntl(fd, F_DUPFD, 3), program = fcntl(pidfd, F_DUPFD, 3);

	dup2(link, STDIN_FILENO);
	dup2(program, STDOUT_FILENO);
	closefrom(2);
}

static void __attribute__((noreturn)) watch(const struct child_spec *spec, int fd)
{
	struct pollfd fds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = STDOUT_FILENO, .events = POLLIN},
	};
	struct start start = {0};
	pid_t pid = 0;
	int pidfd = -1, status;

	detach();
	start.result = child_spawn(spec, &pid, &pidfd, &start.err);
	keep_only(fd, pidfd);
	tell(&start, sizeof(start));
	if (start.result < 0)
		_exit(0);
	while (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno == EINTR)
		continue;
	if (!fds[1].revents) {
		end_program(pid, STDOUT_FILENO);
		_exit(0);
	}
	status = child_wait(STDOUT_FILENO, 0);
	end_orphans();
	tell(&status, sizeof(status));
	_exit(0);
}

/* Receives one message. Returns 0, -ETIMEDOUT, or negative errno. */
static int watcher_recv(const struct watcher *w, void *message, size_t length, int timeout_ms)
{
	struct pollfd p = {.fd = w->fd, .events = POLLIN};
	int r = deadline_poll(&p, 1, deadline_in_ms(timeout_ms));

	if (r < 0)
		return r;
	return recv(w->fd, message, length, 0) == (ssize_t)length ? 0 : -ECHILD;
}

int watcher_start(const struct child_spec *spec, struct watcher *ret, struct error *err)
{
	struct child_spec leader = *spec;
	struct start start;
	int ends[2], r;

	leader.new_session = true;
	leader.dies_with_parent = true;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_errno(err, -errno, "cannot start '%s'", spec->argv[0]);
	*ret = (struct watcher){.pid = fork(), .fd = ends[1]};
	r = ret->pid < 0 ? -errno : 0;
	if (ret->pid == 0) {
		close(ends[1]);
		watch(&leader, ends[0]);
	}
	close(ends[0]);
	if (r == 0)
		r = watcher_recv(ret, &start, sizeof(start), -1);
	if (r < 0)
		fail_errno(err, r, "cannot start '%s'", spec->argv[0]);
	else if (start.result < 0)
		r = fail(err, start.result, "%s", start.err.text);
	if (r < 0)
		watcher_stop(ret);
	return r;
}

int watcher_wait(struct watcher *w, int timeout_ms)
{
	int status, r = watcher_recv(w, &status, sizeof(status), timeout_ms);

	return r < 0 ? r : status;
}

void watcher_stop(struct watcher *w)
{
	w->fd = base_close(w->fd);
	while (w->pid > 0 && waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	w->pid = 0;
}
