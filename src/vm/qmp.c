#include "vm/qmp.h"

#include <errno.h>
#include <sys/socket.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"

/* Longest line that is accepted: far above every answer to the commands that we send. */
#define QMP_LINE_MAX  (1024 * 1024)
#define QMP_READ_SIZE 16384

struct qmp_call {
	uint64_t id;
	qmp_reply_fn reply;
	void *userdata;
	struct qmp_call *next;
};

struct qmp {
	sd_event_source *source;
	int fd;
	struct buffer in, out;
	uint64_t last_id;
	struct qmp_call *calls;
	struct qmp_callbacks callbacks;
	void *userdata;
	struct qmp_version version;
};

static int parse_greeting(json_t *greeting, struct qmp_line *ret)
{
	ret->kind = QMP_GREETING;
	if (json_unpack(greeting, "{s:{s:{s:i,s:i,s:i}}}", "version", "qemu", "major",
		    &ret->version.major, "minor", &ret->version.minor, "micro",
		    &ret->version.micro) < 0)
		return -EPROTO;
	return 0;
}

static int parse_object(struct qmp_line *ret)
{
	json_t *greeting = json_object_get(ret->root, "QMP");
	json_t *error = json_object_get(ret->root, "error");
	json_t *result = json_object_get(ret->root, "return");

	if (greeting)
		return parse_greeting(greeting, ret);
	ret->event = json_string_value(json_object_get(ret->root, "event"));
	if (ret->event) {
		ret->kind = QMP_EVENT;
		ret->data = json_object_get(ret->root, "data");
		return 0;
	}
	if (!result && !error)
		return -EPROTO;
	ret->kind = error ? QMP_ERROR : QMP_RETURN;
	ret->data = result;
	ret->error = json_string_value(json_object_get(error, "desc"));
	ret->id = (uint64_t)json_integer_value(json_object_get(ret->root, "id"));
	return 0;
}

int qmp_parse(const char *text, size_t length, struct qmp_line *ret)
{
	int r;

	*ret = (struct qmp_line){.root = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL)};
	if (!ret->root)
		return -EPROTO;
	r = parse_object(ret);
	if (r < 0) {
		json_decref(ret->root);
		ret->root = NULL;
	}
	return r;
}

static struct qmp_call *qmp_take_call(struct qmp *q, uint64_t id)
{
	for (struct qmp_call **at = &q->calls; *at; at = &(*at)->next) {
		struct qmp_call *call = *at;
		if (call->id == id) {
			*at = call->next;
			return call;
		}
	}
	return NULL;
}

static void qmp_answer(struct qmp *q, uint64_t id, json_t *result, const char *error)
{
	struct qmp_call *call = qmp_take_call(q, id);

	if (call && call->reply)
		call->reply(result, error, call->userdata);
	free(call);
}

static void on_capabilities(json_t *result, const char *error, void *userdata)
{
	struct qmp *q = userdata;

	if (result && q->callbacks.on_ready)
		q->callbacks.on_ready(&q->version, q->userdata);
}

static int qmp_handle(struct qmp *q, const char *text, size_t length)
{
	struct qmp_line line;
	int r = qmp_parse(text, length, &line);

	if (r < 0)
		return r;
	log_debug("qmp: %.*s", (int)MIN_OF(length, (size_t)400), text);
	switch (line.kind) {
	case QMP_GREETING:
		q->version = line.version;
		r = qmp_execute(q, "qmp_capabilities", NULL, on_capabilities, q);
		break;
	case QMP_EVENT:
		if (q->callbacks.on_event)
			q->callbacks.on_event(line.event, line.data, q->userdata);
		break;
	case QMP_RETURN:
		qmp_answer(q, line.id, line.data, NULL);
		break;
	case QMP_ERROR:
		qmp_answer(q, line.id, NULL, line.error ? line.error : "unknown error");
		break;
	}
	json_decref(line.root);
	return r;
}

/* Handles all whole lines that have arrived. */
static int qmp_handle_lines(struct qmp *q)
{
	const char *head, *end;
	int r = 0;

	while (r >= 0 && q->in.len > 0) {
		head = (const char *)buffer_head(&q->in);
		end = memchr(head, '\n', q->in.len);
		if (!end)
			return q->in.len > QMP_LINE_MAX ? -EPROTO : 0;
		if (end > head + 1)
			r = qmp_handle(q, head, (size_t)(end - head));
		buffer_consume(&q->in, (size_t)(end - head) + 1);
	}
	return r;
}

static int qmp_flush(struct qmp *q)
{
	ssize_t n = 0;

	while (q->out.len > 0 && n >= 0)
		n = buffer_write(&q->out, q->fd);
	if (n < 0 && n != -EAGAIN)
		return (int)n;
	return sd_event_source_set_io_events(
		q->source, EPOLLIN | (q->out.len > 0 ? (uint32_t)EPOLLOUT : 0));
}

static void qmp_close(struct qmp *q, int error)
{
	q->source = sd_event_source_disable_unref(q->source);
	while (q->calls)
		qmp_answer(q, q->calls->id, NULL, "QEMU is gone");
	if (q->callbacks.on_closed)
		q->callbacks.on_closed(error, q->userdata);
}

static int qmp_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct qmp *q = userdata;
	ssize_t n = 1;

	if (events & (EPOLLIN | EPOLLHUP))
		n = buffer_read(&q->in, fd, QMP_READ_SIZE);
	if (n > 0)
		n = qmp_handle_lines(q) < 0 ? -EPROTO : n;
	if (n > 0 && (events & EPOLLOUT))
		n = qmp_flush(q) < 0 ? -EPIPE : n;
	if (n == 0 || (n < 0 && n != -EAGAIN))
		qmp_close(q, (int)n);
	return 0;
}

void qmp_drain(struct qmp *q)
{
	if (q->source && buffer_read(&q->in, q->fd, QMP_READ_SIZE) > 0)
		qmp_handle_lines(q);
}

int qmp_open(sd_event *event, int fd, const struct qmp_callbacks *callbacks, void *userdata,
	struct qmp **ret)
{
	struct qmp *q AUTO(qmp_freep) = calloc(1, sizeof(*q));
	int r;

	if (!q) {
		close(fd);
		return -ENOMEM;
	}
	q->fd = fd;
	q->callbacks = *callbacks;
	q->userdata = userdata;
	r = file_set_nonblocking(fd, true);
	if (r >= 0)
		r = sd_event_add_io(event, &q->source, fd, EPOLLIN, qmp_on_io, q);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(q);
	return 0;
}

struct qmp *qmp_free(struct qmp *q)
{
	if (!q)
		return NULL;
	sd_event_source_disable_unref(q->source);
	base_close(q->fd);
	while (q->calls)
		free(qmp_take_call(q, q->calls->id));
	buffer_done(&q->in);
	buffer_done(&q->out);
	free(q);
	return NULL;
}

/* Queues a command. Returns 0 or negative errno. */
static int qmp_queue(
	struct qmp *q, const char *command, json_t *arguments, qmp_reply_fn reply, void *userdata)
{
	struct qmp_call *call = calloc(1, sizeof(*call));
	json_t *message = json_pack("{s:s, s:I, s:o*}", "execute", command, "id",
		(json_int_t)q->last_id + 1, "arguments", arguments);
	autofree char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;

	json_decref(message);
	if (!call || !text || !q->source || buffer_append(&q->out, text, strlen(text)) < 0 ||
		buffer_append(&q->out, "\n", 1) < 0) {
		free(call);
		return q->source ? -ENOMEM : -ENOTCONN;
	}
	*call = (struct qmp_call){++q->last_id, reply, userdata, q->calls};
	q->calls = call;
	return 0;
}

int qmp_execute(
	struct qmp *q, const char *command, json_t *arguments, qmp_reply_fn reply, void *userdata)
{
	int r = qmp_queue(q, command, arguments, reply, userdata);

	return r < 0 ? r : qmp_flush(q);
}

/* Sends what is queued, with the descriptor beside its first byte. */
static int qmp_send_with(struct qmp *q, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec text = {(void *)(uintptr_t)buffer_head(&q->out), q->out.len};
	struct msghdr message = {
		.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	control.header = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
	};
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	do
		n = sendmsg(q->fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	buffer_consume(&q->out, (size_t)n);
	return qmp_flush(q);
}

int qmp_give_fd(struct qmp *q, const char *name, int fd, qmp_reply_fn reply, void *userdata)
{
	int r = q->out.len > 0 ? qmp_flush(q) : 0;

	/* QEMU takes a descriptor with the command that comes in the same read. */
	if (r == 0 && q->out.len > 0)
		r = -EAGAIN;
	if (r == 0)
		r = qmp_queue(q, "getfd", json_pack("{s:s}", "fdname", name), reply, userdata);
	return r < 0 ? r : qmp_send_with(q, fd);
}
