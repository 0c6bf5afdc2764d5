#include "image/watcher.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

/* Time for programs to remove their temporary files. */
#define WATCHER_GRACE_MS 15000
#define WATCHER_POLL_MS  100

static void end_group(pid_t group)
{
	const struct timespec pause = {.tv_nsec = WATCHER_POLL_MS * 1000000L};

	kill(-group, SIGTERM);
	for (int ms = 0; ms < WATCHER_GRACE_MS; ms += WATCHER_POLL_MS) {
		nanosleep(&pause, NULL);
		if (kill(-group, 0) < 0) /* its number may soon be another's */
			return;
	}
	kill(-group, SIGKILL);
}

/* Out of reach of the terminal and of every lock that we hold. */
static void detach(int fd)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

	setsid();
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_IGN);
	dup2(fd, 0);
	closefrom(1);
	prctl(PR_SET_NAME, "wnodes-watcher");
}

/* One number says which group, a second one that there is nothing left to do. */
static void watch(int fd)
{
	pid_t group = 0, done;

	detach(fd);
	if (read(0, &group, sizeof(group)) != sizeof(group) || group <= 1)
		_exit(0);
	if (read(0, &done, sizeof(done)) != sizeof(done))
		end_group(group);
	_exit(0);
}

int watcher_start(struct watcher *ret)
{
	int ends[2], saved;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	ret->pid = fork();
	saved = -errno;
	if (ret->pid == 0) {
		close(ends[1]);
		watch(ends[0]);
	}
	close(ends[0]);
	ret->fd = ends[1];
	if (ret->pid > 0)
		return 0;
	ret->fd = base_close(ret->fd);
	return saved;
}

void watcher_set_group(struct watcher *w, pid_t group)
{
	/* If the watcher was killed, there is nobody to tell, and nothing to be done about it. */
	if (send(w->fd, &group, sizeof(group), MSG_NOSIGNAL) < 0)
		errno = 0;
}

void watcher_stop(struct watcher *w)
{
	watcher_set_group(w, 0);
	w->fd = base_close(w->fd);
	while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}
