/* Data is read from a process's pipe straight into the queue, behind room for its header, and many
 * frames leave with one write(2): under emulation each system call costs as much as copying
 * kilobytes.
 */
#include "guest/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <termios.h>

#include "guest/now.h"
#include "guest/port.h"

#define LINK_READ_STEP (32 * 1024)
#define LINK_READ_MAX  (256 * 1024) /* in one turn of the loop, so that the rest gets its turn */

/* Data waits in its pipe, not here, while this much is queued. */
#define LINK_OUT_DATA (256 * 1024)

/* Replies and credits are answers to frames, so not reading the host's frames bounds them. */
#define LINK_OUT_MAX (1024 * 1024)

/* Buffers stay allocated up to this size: what streaming needs. An idle agent gives the rest
 * back. */
#define LINK_KEEP (512 * 1024)

static int port_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

static int port_wait(unsigned wait_ms, struct error *err)
{
	int64_t deadline = now_ms() + wait_ms;
	char path[64];
	int r;

	for (;;) {
		r = port_find(LINK_PORT_NAME, path, sizeof(path));
		if (r == 0)
			r = port_open(path);
		if (r >= 0)
			return r;
		if (now_ms() >= deadline)
			return fail_errno(
				err, r, "no virtio-serial port '" LINK_PORT_NAME "' can be opened");
		now_sleep_ms(2);
	}
}

/* A descriptor or a file that tests and fuzzers give instead of the port. */
static int port_open_given(const char *port, struct error *err)
{
	const char *number = str_after(port, "fd:");
	struct termios t;
	int fd;

	fd = number ? atoi(number) : port_open(port);
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return fail_errno(err, fd < 0 ? fd : -errno, "cannot open the port '%s'", port);
	if (tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		tcsetattr(fd, TCSANOW, &t);
	}
	return fd;
}

int link_init(struct link *l, const char *port, unsigned wait_ms, struct error *err)
{
	*l = (struct link){.fd = -1};
	l->fd = port ? port_open_given(port, err) : port_wait(wait_ms, err);
	return l->fd < 0 ? l->fd : 0;
}

void link_done(struct link *l)
{
	buffer_done(&l->in);
	buffer_done(&l->out);
	l->fd = base_close(l->fd);
}

bool link_is_connected(const struct link *l)
{
	struct pollfd p = {.fd = l->fd, .events = POLLOUT};

	return poll(&p, 1, 0) >= 0 && !(p.revents & (POLLHUP | POLLERR | POLLNVAL));
}

/* However the port says it, the host is gone. */
static int link_error(ssize_t n)
{
	return n == -ENOMEM ? -ENOMEM : -EPIPE;
}

int link_receive(struct link *l)
{
	size_t got = 0;
	ssize_t n;

	while (got < LINK_READ_MAX) {
		n = buffer_read(&l->in, l->fd, LINK_READ_STEP);
		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return link_error(n);
		got += (size_t)n;
	}
	return 0;
}

int link_flush(struct link *l)
{
	ssize_t n;

	while (l->out.len > 0) {
		n = buffer_write(&l->out, l->fd);
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return link_error(n);
	}
	return 0;
}

bool link_has_room(const struct link *l)
{
	return l->out.len < LINK_OUT_DATA;
}

bool link_is_full(const struct link *l)
{
	return l->out.len >= LINK_OUT_MAX;
}

uint8_t *link_reserve_data(struct link *l, size_t max)
{
	/* The first reservation takes what a full queue needs: growing it later would copy it. */
	uint8_t *room =
		buffer_reserve(&l->out, l->out.cap ? FRAME_HEADER_SIZE + max : (size_t)LINK_KEEP);

	return room ? room + FRAME_HEADER_SIZE : NULL;
}

void link_commit_data(struct link *l, uint32_t id, enum frame_channel channel, size_t length)
{
	uint8_t *header = l->out.data + l->out.start + l->out.len;

	frame_write_header(header, FRAME_DATA, id, channel, (uint32_t)length);
	buffer_commit(&l->out, FRAME_HEADER_SIZE + length);
}

int link_send(struct link *l, enum frame_type type, uint32_t id, enum frame_channel channel,
	const struct message_field *fields, const void *message)
{
	return message_append_frame(&l->out, type, id, channel, fields, message);
}

int link_send_eof(struct link *l, uint32_t id, enum frame_channel channel)
{
	return frame_append(&l->out, FRAME_DATA, id, channel, NULL, 0);
}

int link_send_reply(struct link *l, uint32_t id, const struct error *err, const struct buffer *body)
{
	struct reply reply = {0};

	if (err && err->code < 0) {
		reply.error = (uint32_t)-err->code;
		reply.reason = err->text;
	} else if (body) {
		reply.body.data = buffer_head(body);
		reply.body.length = (uint32_t)body->len;
	}
	return link_send(l, FRAME_REPLY, id, 0, reply_fields, &reply);
}

void link_trim(struct link *l)
{
	if (l->in.len == 0 && l->in.cap > LINK_KEEP)
		buffer_done(&l->in);
	if (l->out.len == 0 && l->out.cap > LINK_KEEP)
		buffer_done(&l->out);
}
