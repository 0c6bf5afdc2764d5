#include "vm/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "vm/vhost.h"

struct relay_end {
	int fd;
	sd_event_source *source;
	struct vhost_message in;
};

struct relay {
	sd_event *event;
	struct relay_end qemu, server;
	struct vhost_record record;
	struct vhost_message question; /* QEMU's, that waits for an answer; without descriptors */
	bool has_question;
};

static void end_close(struct relay_end *e)
{
	e->source = sd_event_source_disable_unref(e->source);
	e->fd = base_close(e->fd);
	vhost_message_done(&e->in);
}

/* QEMU is gone, or neither side can be believed any more: the server ends with its connection. */
static void relay_end(struct relay *relay, int r)
{
	if (r < 0)
		log_debug("the connection between QEMU and virtiofsd: %s", strerror(-r));
	end_close(&relay->qemu);
	end_close(&relay->server);
}

/* QEMU may ask on, and waits, until there is another. */
static void server_lost(struct relay *relay)
{
	end_close(&relay->server);
	sd_event_source_set_enabled(relay->qemu.source, SD_EVENT_OFF);
}

static int pass_question(struct relay *relay, struct vhost_message *m)
{
	int r = vhost_message_send(m, relay->server.fd);

	relay->has_question = vhost_message_is_question(m);
	if (relay->has_question) {
		relay->question = *m;
		relay->question.fd_count = 0;
	}
	if (r == -EPIPE || r == -ECONNRESET)
		r = 0; /* it will be heard of */
	return r < 0 ? r : vhost_record_add(&relay->record, m);
}

static int pass_answer(struct relay *relay, struct vhost_message *m)
{
	uint32_t queue;

	if (!relay->has_question || m->header.request != relay->question.header.request ||
		m->fd_count > 0)
		return -EPROTO;
	relay->has_question = false;
	vhost_message_limit(m);
	memcpy(&queue, m->payload, sizeof(queue));
	if (m->header.request == VHOST_GET_VRING_BASE)
		vhost_record_stop(&relay->record, queue);
	return vhost_message_send(m, relay->qemu.fd);
}

static int on_qemu(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct relay *relay = userdata;
	int r = vhost_message_receive(&relay->qemu.in, fd);

	if (r == -EAGAIN)
		return 0;
	if (r > 0)
		r = pass_question(relay, &relay->qemu.in);
	else if (r == 0)
		r = -ECONNRESET;
	vhost_message_done(&relay->qemu.in);
	if (r < 0)
		relay_end(relay, r);
	return 0;
}

static int on_server(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct relay *relay = userdata;
	int r = vhost_message_receive(&relay->server.in, fd);

	if (r == -EAGAIN)
		return 0;
	if (r == 0 || r == -ECONNRESET) {
		server_lost(relay);
		return 0;
	}
	if (r > 0)
		r = pass_answer(relay, &relay->server.in);
	vhost_message_done(&relay->server.in);
	if (r < 0)
		relay_end(relay, r);
	return 0;
}

static int end_watch(struct relay *relay, struct relay_end *e, sd_event_io_handler_t handler)
{
	return MIN_OF(sd_event_add_io(relay->event, &e->source, e->fd, EPOLLIN, handler, relay), 0);
}

int relay_open(sd_event *event, int server_fd, struct relay **ret, int *ret_fd)
{
	struct relay *relay AUTO(relay_freep) = calloc(1, sizeof(*relay));
	int ends[2], r;

	if (!relay) {
		close(server_fd);
		return -ENOMEM;
	}
	relay->event = sd_event_ref(event);
	relay->server.fd = server_fd;
	relay->qemu.fd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	relay->qemu.fd = ends[0];
	r = end_watch(relay, &relay->qemu, on_qemu);
	if (r == 0)
		r = end_watch(relay, &relay->server, on_server);
	if (r < 0) {
		close(ends[1]);
		return r;
	}
	*ret_fd = ends[1];
	*ret = TAKE_PTR(relay);
	return 0;
}

/* What was told and not acknowledged yet is in the record. */
static int repeat_question(struct relay *relay)
{
	struct vhost_message *m = &relay->question;
	uint64_t done = 0;

	if (!relay->has_question)
		return 0;
	if (!(m->header.flags & VHOST_NEED_REPLY))
		return vhost_message_send(m, relay->server.fd);
	relay->has_question = false;
	m->header.flags = VHOST_VERSION | VHOST_REPLY;
	m->header.size = sizeof(done);
	memcpy(m->payload, &done, sizeof(done));
	return vhost_message_send(m, relay->qemu.fd);
}

int relay_replace(struct relay *relay, int server_fd)
{
	int r;

	end_close(&relay->server);
	relay->server.fd = server_fd;
	r = relay->qemu.fd < 0 ? -ENOTCONN : end_watch(relay, &relay->server, on_server);
	if (r == 0)
		r = vhost_record_send(&relay->record, server_fd);
	if (r == 0)
		r = repeat_question(relay);
	if (r == 0)
		r = MIN_OF(sd_event_source_set_enabled(relay->qemu.source, SD_EVENT_ON), 0);
	return r;
}

struct relay *relay_free(struct relay *relay)
{
	if (!relay)
		return NULL;
	end_close(&relay->qemu);
	end_close(&relay->server);
	vhost_record_done(&relay->record);
	sd_event_unref(relay->event);
	free(relay);
	return NULL;
}
