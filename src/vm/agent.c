#include "vm/agent.h"

#include <errno.h>
#include <stdio.h>

#include "lib/file.h"
#include "lib/log.h"
#include "vm/stream.h"

/* What is read from the guest at once; a full window of one channel. */
#define AGENT_READ_SIZE FRAME_WINDOW

/* Stream data is not queued beyond this: who has more waits until the guest has taken some. */
#define AGENT_QUEUE_MAX (256 * 1024)

/* What a guest that reads nothing can make us keep: some of the largest calls, and credits. */
#define AGENT_UNREAD_MAX (16 * 1024 * 1024)

#define AGENT_STREAMS_MAX 256

struct agent_call {
	uint32_t id;
	agent_reply_fn reply;
	void *userdata;
	struct agent_call *next;
};

struct agent_stream {
	uint32_t id;
	struct stream *stream;
};

struct agent {
	sd_event_source *source;
	int fd;
	bool greeted;
	bool spoke; /* our hello has gone out */
	struct buffer in, out;
	uint32_t last_id;
	struct agent_call *calls;
	struct agent_stream streams[AGENT_STREAMS_MAX];
	size_t stream_count;
	uint64_t bytes_to_guest, bytes_from_guest;
	struct agent_callbacks callbacks;
	void *userdata;
};

static void call_answer(struct agent_call *call, const struct reply *reply)
{
	if (call->reply)
		call->reply(reply, call->userdata);
	free(call);
}

/* Tells everyone who waits, then the owner. */
static void agent_lose(struct agent *a, const char *reason)
{
	struct agent_call *call;

	if (!a->source)
		return;
	log_debug("agent link ended: %s", reason);
	a->source = sd_event_source_disable_unref(a->source);
	while ((call = a->calls)) {
		a->calls = call->next;
		call_answer(call, NULL);
	}
	while (a->stream_count > 0)
		stream_lose(a->streams[--a->stream_count].stream);
	a->callbacks.on_lost(reason, a->userdata);
}

static int agent_flush(struct agent *a)
{
	ssize_t n = 0;

	while (a->out.len > 0 && n >= 0)
		n = buffer_write(&a->out, a->fd);
	if (n < 0 && n != -EAGAIN)
		return (int)n;
	return sd_event_source_set_io_events(
		a->source, EPOLLIN | (a->out.len > 0 ? (uint32_t)EPOLLOUT : 0));
}

/* What was queued goes out with the loop's next turn, many frames in one write. */
static int agent_want_write(struct agent *a)
{
	if (!a->source)
		return -ENOTCONN;
	return sd_event_source_set_io_events(a->source, EPOLLIN | EPOLLOUT);
}

int agent_greet(struct agent *a)
{
	struct hello_host hello = {MESSAGE_MAGIC, MESSAGE_VERSION};
	int r = a->spoke ? 0
			 : message_append_frame(
				   &a->out, FRAME_HELLO, 0, 0, hello_host_fields, &hello);

	a->spoke = true;
	return r < 0 ? r : agent_want_write(a);
}

static const char *on_hello(struct agent *a, const struct frame *f)
{
	struct hello_guest hello;
	const char *problem = NULL;

	if (a->greeted)
		return "a second hello";
	if (message_decode(hello_guest_fields, f->payload, f->length, &hello) < 0 ||
		hello.magic != MESSAGE_MAGIC)
		problem = "a hello that is none";
	else if (hello.version_min > MESSAGE_VERSION || hello.version_max < MESSAGE_VERSION)
		problem = "an agent of another protocol version; build or import the image again";
	else if (agent_greet(a) < 0)
		problem = "a hello that cannot be answered";
	if (!problem) {
		a->greeted = true;
		a->callbacks.on_hello(&hello, a->userdata);
	}
	message_release(hello_guest_fields, &hello);
	return problem;
}

static const char *on_reply(struct agent *a, const struct frame *f)
{
	struct agent_call **at = &a->calls, *call;
	struct reply reply;

	while (*at && (*at)->id != f->id)
		at = &(*at)->next;
	call = *at;
	if (!call)
		return "an answer to a question that was not asked";
	if (message_decode(reply_fields, f->payload, f->length, &reply) < 0)
		return "an answer that cannot be read";
	*at = call->next;
	call_answer(call, &reply);
	message_release(reply_fields, &reply);
	return NULL;
}

static const char *on_stream_frame(struct agent *a, const struct frame *f)
{
	if (f->type == FRAME_DATA)
		a->bytes_from_guest += f->length;
	for (size_t i = 0; i < a->stream_count; i++)
		if (a->streams[i].id == f->id)
			return stream_on_frame(a->streams[i].stream, f);
	/* The last words of a stream that we have given up. */
	return NULL;
}

/* Returns NULL, or what was wrong with the frame. */
static const char *agent_handle(struct agent *a, const struct frame *f)
{
	if (!a->greeted && f->type != FRAME_HELLO)
		return "a frame before the hello";
	switch (f->type) {
	case FRAME_HELLO:
		return on_hello(a, f);
	case FRAME_REPLY:
		return on_reply(a, f);
	case FRAME_DATA:
	case FRAME_CREDIT:
	case FRAME_EXIT:
		return on_stream_frame(a, f);
	default:
		return "a frame that only the host may send";
	}
}

static void agent_handle_frames(struct agent *a)
{
	const char *problem = NULL;
	struct frame f;
	int r = 1;

	while (!problem && a->source && (r = frame_parse(&a->in, FRAME_HOST_ACCEPTS_MAX, &f)) > 0) {
		problem = agent_handle(a, &f);
		buffer_consume(&a->in, FRAME_HEADER_SIZE + f.length);
	}
	if (r < 0)
		problem = "an impossible frame";
	if (problem) {
		char reason[200];

		snprintf(reason, sizeof(reason), "the guest's agent sent %s", problem);
		agent_lose(a, reason);
	}
}

/* The link has room again: let streams send what they hold. */
static void agent_wake_streams(struct agent *a)
{
	for (size_t i = a->stream_count; i > 0 && agent_room(a) > 0; i--)
		if (i <= a->stream_count)
			stream_on_room(a->streams[i - 1].stream);
}

static int agent_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct agent *a = userdata;
	ssize_t n = -EAGAIN;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		n = buffer_read(&a->in, fd, AGENT_READ_SIZE);
	if (n > 0)
		agent_handle_frames(a);
	else if (n != -EAGAIN)
		agent_lose(a, "the VM closed the agent's channel");
	if (!a->source)
		return 0;
	if (agent_flush(a) < 0)
		agent_lose(a, "the VM closed the agent's channel");
	else if (a->out.len > AGENT_UNREAD_MAX)
		agent_lose(a, "the guest's agent does not read what it is sent");
	else if (events & EPOLLOUT)
		agent_wake_streams(a);
	return 0;
}

int agent_open(sd_event *event, int fd, const struct agent_callbacks *callbacks, void *userdata,
	struct agent **ret)
{
	struct agent *a AUTO(agent_freep) = calloc(1, sizeof(*a));
	int r;

	if (!a) {
		close(fd);
		return -ENOMEM;
	}
	a->fd = fd;
	a->callbacks = *callbacks;
	a->userdata = userdata;
	r = file_set_nonblocking(fd, true);
	if (r >= 0)
		r = sd_event_add_io(event, &a->source, fd, EPOLLIN, agent_on_io, a);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(a);
	return 0;
}

struct agent *agent_free(struct agent *a)
{
	if (!a)
		return NULL;
	sd_event_source_disable_unref(a->source);
	base_close(a->fd);
	while (a->calls) {
		struct agent_call *call = a->calls;
		a->calls = call->next;
		free(call);
	}
	buffer_done(&a->in);
	buffer_done(&a->out);
	free(a);
	return NULL;
}

int64_t agent_call(struct agent *a, enum frame_type type, const struct message_field *fields,
	const void *message, agent_reply_fn reply, void *userdata)
{
	static const struct message_field no_fields[] = {{MESSAGE_END, 0}};
	size_t queued = a->out.len;
	struct agent_call *call;
	int r;

	if (!a->source)
		return -ENOTCONN;
	call = calloc(1, sizeof(*call));
	if (!call)
		return -ENOMEM;
	r = message_append_frame(
		&a->out, type, a->last_id + 1, 0, fields ? fields : no_fields, message);
	if (r >= 0 && a->out.len - queued > FRAME_HEADER_SIZE + FRAME_GUEST_ACCEPTS_MAX) {
		a->out.len = queued;
		r = -E2BIG;
	}
	if (r < 0) {
		free(call);
		return r;
	}
	*call = (struct agent_call){++a->last_id, reply, userdata, a->calls};
	a->calls = call;
	agent_want_write(a);
	return call->id;
}

void agent_cancel_call(struct agent *a, uint32_t id)
{
	for (struct agent_call *call = a->calls; call; call = call->next)
		if (call->id == id)
			call->reply = NULL;
}

int agent_send(struct agent *a, enum frame_type type, uint32_t id, enum frame_channel channel,
	const void *payload, size_t length)
{
	int r;

	if (!a->source)
		return -ENOTCONN;
	r = frame_append(&a->out, type, id, channel, payload, length);
	if (r < 0)
		return r;
	if (type == FRAME_DATA)
		a->bytes_to_guest += length;
	return agent_want_write(a);
}

size_t agent_room(const struct agent *a)
{
	if (!a->source || a->out.len >= AGENT_QUEUE_MAX)
		return 0;
	return AGENT_QUEUE_MAX - a->out.len;
}

void agent_add_stream(struct agent *a, uint32_t id, struct stream *stream)
{
	a->streams[a->stream_count++] = (struct agent_stream){id, stream};
}

bool agent_has_stream_slot(const struct agent *a)
{
	return a->stream_count < AGENT_STREAMS_MAX;
}

void agent_remove_stream(struct agent *a, struct stream *stream)
{
	for (size_t i = 0; i < a->stream_count; i++)
		if (a->streams[i].stream == stream) {
			a->streams[i] = a->streams[--a->stream_count];
			return;
		}
}

void agent_get_traffic(const struct agent *a, uint64_t *ret_to_guest, uint64_t *ret_from_guest)
{
	*ret_to_guest = a->bytes_to_guest;
	*ret_from_guest = a->bytes_from_guest;
}
