#include "vm/fakeguest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include "lib/file.h"

#include <cmocka.h>

/* A loop that does not come to rest would hang a test: it fails instead. */
#define TURNS_MAX 1000000

int fakeguest_start(struct fakeguest *g)
{
	int pair[2];

	*g = (struct fakeguest){0};
	assert_true(sd_event_new(&g->event) >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(file_set_nonblocking(pair[0], true), 0);
	g->fd = pair[0];
	return pair[1];
}

void fakeguest_stop(struct fakeguest *g)
{
	base_close(g->fd);
	buffer_done(&g->in);
	buffer_done(&g->out);
	sd_event_unref(g->event);
}

/* Returns whether anything moved. */
static bool fakeguest_move(struct fakeguest *g)
{
	size_t before = g->out.len;
	ssize_t n = before > 0 ? buffer_write(&g->out, g->fd) : 0;
	bool moved = n > 0;

	if (n < 0 && n != -EAGAIN) /* the host has closed its end */
		buffer_consume(&g->out, g->out.len);
	moved |= sd_event_run(g->event, 0) > 0;
	if (g->deaf || g->gone)
		return moved;
	n = buffer_read(&g->in, g->fd, FRAME_WINDOW);
	g->gone = n == 0 || (n < 0 && n != -EAGAIN);
	return moved || n > 0;
}

void fakeguest_turn(struct fakeguest *g)
{
	int turns = 0;

	while (fakeguest_move(g))
		assert_true(++turns < TURNS_MAX);
}

void fakeguest_send_bytes(struct fakeguest *g, const void *bytes, size_t length)
{
	assert_int_equal(buffer_append(&g->out, bytes, length), 0);
	fakeguest_turn(g);
}

void fakeguest_send(struct fakeguest *g, enum frame_type type, uint32_t id,
	enum frame_channel channel, const void *payload, size_t length)
{
	assert_int_equal(frame_append(&g->out, type, id, channel, payload, length), 0);
	fakeguest_turn(g);
}

void fakeguest_tell(struct fakeguest *g, enum frame_type type, uint32_t id,
	enum frame_channel channel, const struct message_field *fields, const void *message)
{
	assert_int_equal(message_append_frame(&g->out, type, id, channel, fields, message), 0);
	fakeguest_turn(g);
}

void fakeguest_greet(struct fakeguest *g)
{
	const struct hello_guest hello = {
		.magic = MESSAGE_MAGIC,
		.version_min = MESSAGE_VERSION,
		.version_max = MESSAGE_VERSION,
		.agent_version = "0.1.0",
		.kernel = "6.1.0",
		.init = "wnodes",
		.cpus = 1,
		.memory_kib = 262144,
		.uptime_us = 1900000,
	};

	fakeguest_tell(g, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
	fakeguest_expect(g, FRAME_HELLO);
}

void fakeguest_reply(struct fakeguest *g, uint32_t id, int error, const char *reason)
{
	const struct reply reply = {.error = (uint32_t)error, .reason = reason};

	fakeguest_tell(g, FRAME_REPLY, id, 0, reply_fields, &reply);
}

void fakeguest_exit(struct fakeguest *g, uint32_t id, int code)
{
	const struct exit_status status = {.exited = 1, .code = (uint32_t)code};

	fakeguest_tell(g, FRAME_EXIT, id, 0, exit_status_fields, &status);
}

bool fakeguest_take(struct fakeguest *g, struct frame *ret)
{
	int r;

	buffer_consume(&g->in, g->taken);
	g->taken = 0;
	r = frame_parse(&g->in, FRAME_GUEST_ACCEPTS_MAX, ret);
	assert_true(r >= 0);
	if (r > 0)
		g->taken = FRAME_HEADER_SIZE + ret->length;
	return r > 0;
}

struct frame fakeguest_expect(struct fakeguest *g, enum frame_type type)
{
	struct frame f = {0};

	assert_true(fakeguest_take(g, &f));
	assert_int_equal(f.type, type);
	return f;
}
