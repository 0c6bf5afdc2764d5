#include "vm/console.h"

#include <errno.h>
#include <poll.h>

#include "lib/file.h"

#define CONSOLE_WATCHERS_MAX 4

struct console {
	sd_event_source *source;
	int fd;
	char kept[CONSOLE_KEPT]; /* a ring */
	uint64_t written;        /* bytes ever put into it */
	int watchers[CONSOLE_WATCHERS_MAX];
};

static void watcher_send(int *fd, const char *data, size_t n)
{
	if (*fd < 0)
		return;
	if (write(*fd, data, n) < 0 && errno != EAGAIN)
		*fd = base_close(*fd);
}

static void console_keep(struct console *c, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		c->kept[(c->written + i) % CONSOLE_KEPT] = data[i];
	c->written += n;
	for (size_t i = 0; i < CONSOLE_WATCHERS_MAX; i++)
		watcher_send(&c->watchers[i], data, n);
}

/* Returns what read(2) returned. */
static ssize_t console_read(struct console *c)
{
	char data[4096];
	ssize_t n = read(c->fd, data, sizeof(data));

	if (n > 0)
		console_keep(c, data, (size_t)n);
	return n;
}

static int console_on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct console *c = userdata;
	ssize_t n = console_read(c);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		c->source = sd_event_source_disable_unref(c->source);
	return 0;
}

void console_drain(struct console *c)
{
	/* Bounded: nobody writes any more, and no more than what is kept is of use. */
	for (int i = 0; i < CONSOLE_KEPT / 4096 && console_read(c) > 0; i++)
		continue;
}

int console_open(sd_event *event, int fd, struct console **ret)
{
	struct console *c AUTO(console_freep) = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	c->fd = fd;
	for (size_t i = 0; i < CONSOLE_WATCHERS_MAX; i++)
		c->watchers[i] = -1;
	r = file_set_nonblocking(fd, true);
	if (r >= 0)
		r = sd_event_add_io(event, &c->source, fd, EPOLLIN, console_on_readable, c);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct console *console_free(struct console *c)
{
	if (!c)
		return NULL;
	sd_event_source_disable_unref(c->source);
	base_close(c->fd);
	for (size_t i = 0; i < CONSOLE_WATCHERS_MAX; i++)
		base_close(c->watchers[i]);
	free(c);
	return NULL;
}

size_t console_tail(const struct console *c, char *ret, size_t max)
{
	uint64_t kept = MIN_OF(c->written, (uint64_t)CONSOLE_KEPT);
	size_t n = MIN_OF((size_t)kept, max - 1);

	for (size_t i = 0; i < n; i++)
		ret[i] = c->kept[(c->written - n + i) % CONSOLE_KEPT];
	ret[n] = '\0';
	return n;
}

/* A reader that has gone is noticed by writing, which a silent guest gives no reason for. */
static void console_drop_gone(struct console *c)
{
	for (size_t i = 0; i < CONSOLE_WATCHERS_MAX; i++) {
		struct pollfd p = {.fd = c->watchers[i]};

		if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)))
			c->watchers[i] = base_close(c->watchers[i]);
	}
}

int console_watch(struct console *c, int fd)
{
	autofree char *tail = malloc(CONSOLE_KEPT + 1);
	size_t n;

	console_drop_gone(c);
	for (size_t i = 0; i < CONSOLE_WATCHERS_MAX && tail; i++) {
		if (c->watchers[i] >= 0)
			continue;
		file_set_nonblocking(fd, true);
		c->watchers[i] = fd;
		n = console_tail(c, tail, CONSOLE_KEPT + 1);
		if (n > 0)
			watcher_send(&c->watchers[i], tail, n);
		return 0;
	}
	close(fd);
	return tail ? -EBUSY : -ENOMEM;
}
