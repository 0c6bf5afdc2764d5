#include "sftp/server.h"

#include <errno.h>

#include "sftp/request.h"

#define SERVER_VERSION 3

/* Answers are sent when the requests that came together have been served, or there are so many. */
#define SERVER_OUT_MAX (512 * 1024)

enum status {
	STATUS_OK,
	STATUS_EOF,
	STATUS_NO_FILE,
	STATUS_DENIED,
	STATUS_FAILURE,
	STATUS_BAD,
	STATUS_UNSUPPORTED = 8
};

void server_done(struct server *s)
{
	handles_done(&s->handles);
	buffer_done(&s->out);
}

/* There are few: a client knows most errors as a failure. */
static enum status status_of(int r)
{
	switch (-r) {
	case 0:
		return STATUS_OK;
	case ENODATA:
		return STATUS_EOF;
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case EBADF:
		return STATUS_NO_FILE;
	case EACCES:
	case EPERM:
	case EROFS:
		return STATUS_DENIED;
	case EBADMSG:
		return STATUS_BAD;
	case EOPNOTSUPP:
	case ENOSYS:
		return STATUS_UNSUPPORTED;
	default:
		return STATUS_FAILURE;
	}
}

static void answer_status(struct server *s, uint32_t id, int r)
{
	size_t begin = packet_begin(&s->out, PACKET_STATUS, id);

	packet_put_u32(&s->out, status_of(r));
	packet_put_string(&s->out, r < 0 ? strerror(-r) : "");
	packet_put_string(&s->out, "");
	packet_end(&s->out, begin);
}

static int serve_init(struct server *s, struct packet *in)
{
	uint32_t version = packet_get_u32(in);
	size_t begin;

	if (in->bad || version < SERVER_VERSION || s->greeted)
		return -EPROTO;
	s->greeted = true;
	/* The version is where other packets have their id. */
	begin = packet_begin(&s->out, PACKET_VERSION, SERVER_VERSION);
	request_put_extensions(&s->out);
	packet_end(&s->out, begin);
	return 0;
}

static const struct request_entry *entry_of(struct request *r, unsigned int type)
{
	char name[64];

	if (type != PACKET_EXTENDED)
		return request_find(type);
	packet_get_string(&r->in, name, sizeof(name));
	return r->in.bad ? NULL : request_find_extended(name);
}

static int serve_packet(struct server *s, struct packet in)
{
	struct request r = {.server = s};
	const struct request_entry *e;
	unsigned int type = in.data[0];
	int result;

	in.data++;
	in.length--;
	if (type == PACKET_INIT)
		return serve_init(s, &in);
	if (!s->greeted)
		return -EPROTO;
	r.id = packet_get_u32(&in);
	if (in.bad)
		return -EPROTO;
	r.in = in;
	e = entry_of(&r, type);
	if (!e)
		result = -EOPNOTSUPP;
	else if (e->changes && s->tree.read_only)
		result = -EROFS;
	else
		result = e->handle(&r);
	if (result != REQUEST_ANSWERED)
		answer_status(s, r.id, result);
	return 0;
}

static int flush(struct server *s)
{
	ssize_t n = 0;

	while (s->out_fd >= 0 && s->out.len > 0 && (n >= 0 || n == -EINTR))
		n = buffer_write(&s->out, s->out_fd);
	return s->out_fd >= 0 && s->out.len > 0 ? (int)n : 0;
}

int server_serve(struct server *s, struct buffer *in)
{
	int r = 0;

	while (r == 0 && in->len >= sizeof(uint32_t)) {
		struct packet p = {buffer_head(in), in->len, false};
		uint32_t length = packet_get_u32(&p);

		if (length == 0 || length > PACKET_MAX)
			return -EPROTO;
		if (p.length < length)
			break;
		p.length = length;
		r = serve_packet(s, p);
		buffer_consume(in, sizeof(length) + length);
		if (r == 0 && s->out.len > SERVER_OUT_MAX)
			r = flush(s);
	}
	return r == 0 ? flush(s) : r;
}
