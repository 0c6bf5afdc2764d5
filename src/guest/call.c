/* Calls are answered one after the other, in the order in which they came, except those that end
 * later by their nature (EXEC, SHUTDOWN). A call that waits for a device stays at the head of the
 * input and is tried again; frames behind it wait as well, which keeps "mount A, then B below A"
 * true without any book-keeping.
 */
#include "guest/call.h"

#include <errno.h>

#include "guest/console.h"
#include "guest/guest.h"
#include "guest/now.h"
#include "guest/version.h"

/* For what the kernel makes by itself soon after a device was plugged in. */
#define CALL_WAIT_MS 2000

/* Largest of the messages that calls carry. */
union call_message {
	struct identity identity;
	struct account account;
	struct mount_request mount;
	struct network_request network;
	struct file_write file_write;
	struct file_read file_read;
	struct clock_set clock;
	struct shutdown shutdown;
	struct exec_request exec;
	struct quiesce quiesce;
};

static int exec_on_call(const struct call *c)
{
	struct guest *g = c->guest;
	const struct exec_request *x = c->message;
	struct process process;
	int r = streams_check(&g->streams, c->id, c->err);

	if (r == 0 && spare_take(&g->spare, c->frame, x, &process) < 0)
		r = process_start(x, &process, c->err);
	if (r < 0)
		return r;
	r = streams_adopt(&g->streams, c->id, &process, x->flags & EXEC_STDIN, c->err);
	if (r < 0)
		process_end(&process);
	return r < 0 ? r : CALL_LATER;
}

const struct call_entry call_entries[FRAME_TYPE_END] = {
	[FRAME_IDENTITY] = {identity_fields, identity_on_call},
	[FRAME_ACCOUNT] = {account_fields, account_on_call},
	[FRAME_MOUNT] = {mount_request_fields, mount_on_call},
	[FRAME_NETWORK] = {network_request_fields, network_on_call},
	[FRAME_FILE_WRITE] = {file_write_fields, file_write_on_call},
	[FRAME_FILE_READ] = {file_read_fields, file_read_on_call},
	[FRAME_STATISTICS] = {NULL, statistics_on_call},
	[FRAME_PROBE] = {NULL, probe_on_call},
	[FRAME_CLOCK] = {clock_set_fields, clock_on_call},
	[FRAME_SHUTDOWN] = {shutdown_fields, power_on_call},
	[FRAME_EXEC] = {exec_request_fields, exec_on_call},
	[FRAME_QUIESCE] = {quiesce_fields, template_on_call},
};

/* A host may say hello again, for example after it took over a clone: it gets a fresh answer. */
static int hello_on_frame(struct guest *g, const struct frame *f)
{
	struct hello_host hello;
	int r = message_decode(hello_host_fields, f->payload, f->length, &hello);

	if (r < 0)
		return r;
	if (hello.magic != MESSAGE_MAGIC || hello.version != MESSAGE_VERSION)
		return -EPROTO;
	if (g->link.state == LINK_OPEN)
		return version_send_hello(&g->link);
	g->link.state = LINK_OPEN;
	return 0;
}

static int call_run(const struct call *c, const struct call_entry *e, const struct frame *f)
{
	union call_message message;
	struct call call = *c;
	int r = 0;

	call.frame = f;
	call.message = &message;
	if (e->fields)
		r = message_decode(e->fields, f->payload, f->length, &message);
	if (r < 0)
		fail(c->err, r, "the message cannot be read");
	else if (c->guest->power.state != POWER_ON)
		r = fail(c->err, -ESHUTDOWN, "the VM is shutting down");
	else
		r = e->handle(&call);
	if (e->fields)
		message_release(e->fields, &message);
	return r;
}

/* Turns "again" into the error that the handler left, once the call's time is over. */
static int call_limit_wait(struct guest *g, int result, struct error *err)
{
	int64_t now = now_ms();

	if (result == CALL_AGAIN) {
		if (g->call_deadline == 0)
			g->call_deadline = now + CALL_WAIT_MS;
		if (now < g->call_deadline || program_runs(&g->module.program) ||
			program_runs(&g->sshfs.program))
			return CALL_AGAIN;
		result = err->code < 0 ? err->code : fail(err, -ETIMEDOUT, "it takes too long");
	}
	g->call_deadline = 0;
	return result;
}

static int call_on_frame(struct guest *g, const struct frame *f)
{
	const struct call_entry *e = &g->calls[f->type];
	struct buffer body AUTO(buffer_done) = {0};
	struct error err = {0};
	struct call c = {.guest = g, .id = f->id, .body = &body, .err = &err};
	int r;

	if (!e->handle)
		return -EPROTO;
	r = call_limit_wait(g, call_run(&c, e, f), &err);
	if (r == CALL_AGAIN || r == CALL_LATER)
		return r;
	if (r < 0 && err.code == 0)
		fail(&err, r, "%s", strerror(-r));
	if (r < 0)
		console_debug("call %u: %s", f->type, err.text);
	return link_send_reply(&g->link, f->id, r < 0 ? &err : NULL, &body);
}

static int frame_serve(struct guest *g, const struct frame *f)
{
	if (f->type == FRAME_HELLO)
		return hello_on_frame(g, f);
	if (g->link.state != LINK_OPEN)
		return -EPROTO;
	switch (f->type) {
	case FRAME_DATA:
		return stream_on_data(&g->streams, f);
	case FRAME_CREDIT:
		return stream_on_credit(&g->streams, f);
	case FRAME_SIGNAL:
		return stream_on_signal(&g->streams, f);
	case FRAME_RESIZE:
		return stream_on_resize(&g->streams, f);
	default:
		return call_on_frame(g, f);
	}
}

int call_serve(struct guest *g)
{
	struct frame f;
	int r;

	while (!link_is_full(&g->link)) {
		r = frame_parse(&g->link.in, FRAME_GUEST_ACCEPTS_MAX, &f);
		if (r > 0)
			r = frame_serve(g, &f);
		else
			return r;
		if (r == CALL_AGAIN)
			return 0;
		if (r < 0)
			return r;
		buffer_consume(&g->link.in, FRAME_HEADER_SIZE + f.length);
	}
	return 0;
}
