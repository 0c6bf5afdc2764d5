/* Feeds bytes to the agent as if its host had sent them: hello, calls, streams, in any order and
 * broken in any way. Everything runs but what the calls do to the system: their messages are
 * decoded and read to the last byte, and EXEC's streams have a pipe instead of a process.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "guest/call.h"
#include "guest/guest.h"
#include "guest/now.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Keeps the compiler from leaving out the reads. */
static volatile unsigned sum;

static void touch(const void *data, size_t length)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < length; i++)
		sum += p[i];
}

static void touch_strings(const char *const *list)
{
	for (; *list; list++)
		touch(*list, strlen(*list));
}

static void touch_message(const struct message_field *f, const char *message)
{
	for (; f->kind != MESSAGE_END; f++) {
		const void *member = message + f->offset;
		const struct message_numbers *numbers = member;
		const struct message_bytes *bytes = member;

		if (f->kind == MESSAGE_STRING)
			touch(*(char *const *)member, strlen(*(char *const *)member));
		else if (f->kind == MESSAGE_STRINGS)
			touch_strings(*(const char *const *const *)member);
		else if (f->kind == MESSAGE_NUMBERS)
			touch(numbers->values, numbers->count * sizeof(uint32_t));
		else if (f->kind == MESSAGE_BYTES)
			touch(bytes->data, bytes->length);
	}
}

#define ON_CALL(name)                                            \
	static int name##_fuzz(const struct call *c)             \
	{                                                        \
		touch_message(name##_fields, c->message);        \
		return fail(c->err, -EPERM, "not while fuzzed"); \
	}

ON_CALL(identity)
ON_CALL(account)
ON_CALL(mount_request)
ON_CALL(network_request)
ON_CALL(file_write)
ON_CALL(clock_set)
ON_CALL(quiesce)

/* A stream whose process never starts, reads all, and has written something. */
static int exec_fuzz(const struct call *c)
{
	struct process p = {.status_fd = -1, .in = -1, .out = -1, .err = -1};
	const struct exec_request *x = c->message;
	struct streams *s = &c->guest->streams;
	int fds[2];

	touch_message(exec_request_fields, c->message);
	if (c->id == 0 || streams_find(s, c->id) || s->count >= STREAMS_MAX)
		return fail(c->err, -EEXIST, "in use");
	p.in = open("/dev/null", O_WRONLY | O_CLOEXEC);
	p.err = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		abort();
	p.out = fds[0];
	if (write(fds[1], "output", 6) != 6)
		abort();
	close(fds[1]);
	if (streams_adopt(s, c->id, &p, x->flags & EXEC_STDIN, c->err) < 0)
		return -ENOMEM;
	/* Like a process that was reaped before it could be noticed. */
	s->first->state = STREAM_RUNNING;
	s->first->process.pid = -2;
	return CALL_LATER;
}

static int again_fuzz(const struct call *c)
{
	return fail(c->err, CALL_AGAIN, "waiting");
}

static const struct call_entry fuzz_entries[FRAME_TYPE_END] = {
	[FRAME_IDENTITY] = {identity_fields, identity_fuzz},
	[FRAME_ACCOUNT] = {account_fields, account_fuzz},
	[FRAME_MOUNT] = {mount_request_fields, mount_request_fuzz},
	[FRAME_NETWORK] = {network_request_fields, network_request_fuzz},
	[FRAME_FILE_WRITE] = {file_write_fields, file_write_fuzz},
	[FRAME_FILE_READ] = {file_read_fields, again_fuzz},
	[FRAME_STATISTICS] = {NULL, statistics_on_call},
	[FRAME_PROBE] = {NULL, probe_on_call},
	[FRAME_CLOCK] = {clock_set_fields, clock_set_fuzz},
	[FRAME_EXEC] = {exec_request_fields, exec_fuzz},
	[FRAME_QUIESCE] = {quiesce_fields, quiesce_fuzz},
};

static int turn(struct guest *g)
{
	struct pollset set = {.timeout_ms = -1};
	int r = call_serve(g);

	streams_poll(&g->streams, &g->link, &set, now_ms());
	poll(set.fds, (nfds_t)set.count, 0);
	if (r == 0)
		r = streams_serve(&g->streams, &g->link, &set, now_ms());
	if (r == 0)
		r = link_flush(&g->link);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest g;
	size_t step = size > 0 ? 1 + data[0] * 16u : 1, n;
	int r = 0;

	g = (struct guest){.calls = fuzz_entries, .root = "/nonexistent", .signal_fd = -1};
	g.link.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	g.link.state = LINK_HELLO;
	/* The first byte chooses in how large pieces the rest comes. */
	for (size_t at = 1; at < size && r == 0; at += n) {
		n = MIN_OF(step, size - at);
		if (buffer_append(&g.link.in, data + at, n) < 0)
			abort();
		r = turn(&g);
	}
	guest_done(&g);
	return 0;
}
