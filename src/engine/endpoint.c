#include "engine/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum endpoint_kind {
	ENDPOINT_FILE,        /* always ready, not for epoll */
	ENDPOINT_NONBLOCKING, /* our own file description */
	ENDPOINT_SHARED,      /* blocking, shared with others */
	ENDPOINT_SOCKET,      /* non-blocking call by call */
};

struct endpoint {
	sd_event_source *source;
	int fd;
	bool writing;
	enum endpoint_kind kind;
	endpoint_fn ready;
	void *userdata;
};

/* Replaces the descriptor by one with a file description of our own. */
static bool endpoint_reopen(struct endpoint *e)
{
	int flags = (e->writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", e->fd);
	fd = open(path, flags);
	if (fd < 0)
		return false;
	close(e->fd);
	e->fd = fd;
	return true;
}

static enum endpoint_kind endpoint_classify(struct endpoint *e)
{
	struct stat st;

	if (fstat(e->fd, &st) < 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ||
		S_ISBLK(st.st_mode))
		return ENDPOINT_FILE;
	if (S_ISSOCK(st.st_mode))
		return ENDPOINT_SOCKET;
	if (S_ISFIFO(st.st_mode) || isatty(e->fd))
		return endpoint_reopen(e) ? ENDPOINT_NONBLOCKING : ENDPOINT_SHARED;
	return ENDPOINT_SHARED;
}

static int endpoint_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct endpoint *e = userdata;

	e->ready(e, e->userdata);
	return 0;
}

static int endpoint_on_turn(sd_event_source *source, void *userdata)
{
	struct endpoint *e = userdata;

	e->ready(e, e->userdata);
	return 0;
}

/* Files, and devices such as /dev/null, cannot be polled: they are ready in every turn. */
static int endpoint_watch(struct endpoint *e, sd_event *event)
{
	int r = -EPERM;

	if (e->kind != ENDPOINT_FILE)
		r = sd_event_add_io(event, &e->source, e->fd, e->writing ? EPOLLOUT : EPOLLIN,
			endpoint_on_io, e);
	if (r == -EPERM) {
		e->kind = ENDPOINT_FILE;
		r = sd_event_add_defer(event, &e->source, endpoint_on_turn, e);
	}
	return r < 0 ? r : sd_event_source_set_enabled(e->source, SD_EVENT_OFF);
}

int endpoint_open(sd_event *event, int fd, bool writing, endpoint_fn ready, void *userdata,
	struct endpoint **ret)
{
	struct endpoint *e AUTO(endpoint_freep) = calloc(1, sizeof(*e));
	int r;

	if (!e) {
		close(fd);
		return -ENOMEM;
	}
	*e = (struct endpoint){.fd = fd, .writing = writing, .ready = ready, .userdata = userdata};
	e->kind = endpoint_classify(e);
	r = endpoint_watch(e, event);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(e);
	return 0;
}

struct endpoint *endpoint_free(struct endpoint *e)
{
	if (!e)
		return NULL;
	sd_event_source_disable_unref(e->source);
	base_close(e->fd);
	free(e);
	return NULL;
}

void endpoint_enable(struct endpoint *e, bool on)
{
	sd_event_source_set_enabled(e->source, on ? SD_EVENT_ON : SD_EVENT_OFF);
}

static bool endpoint_is_ready(const struct endpoint *e)
{
	struct pollfd p = {.fd = e->fd, .events = e->writing ? POLLOUT : POLLIN};

	return poll(&p, 1, 0) > 0;
}

static ssize_t result(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EINTR ? -EAGAIN : -errno;
}

ssize_t endpoint_read(struct endpoint *e, void *data, size_t max)
{
	if (e->kind == ENDPOINT_SOCKET)
		return result(recv(e->fd, data, max, MSG_DONTWAIT));
	if (e->kind == ENDPOINT_SHARED && !endpoint_is_ready(e))
		return -EAGAIN;
	return result(read(e->fd, data, max));
}

ssize_t endpoint_write(struct endpoint *e, const void *data, size_t length)
{
	if (e->kind == ENDPOINT_SOCKET)
		return result(send(e->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL));
	if (e->kind == ENDPOINT_SHARED) {
		if (!endpoint_is_ready(e))
			return -EAGAIN;
		/* A pipe that polls writable takes this much without blocking (pipe(7)). */
		length = MIN_OF(length, (size_t)PIPE_BUF);
	}
	return result(write(e->fd, data, length));
}
