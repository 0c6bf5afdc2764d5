#include "engine/daemon.h"

#include <errno.h>
#include <poll.h>

#include "engine/packet.h"
#include "lib/clock.h"

/* It answers in milliseconds, unless the machine is very busy. */
#define ANSWER_MS 60000

void daemon_answer_done(struct daemon_answer *a)
{
	json_decref(a->json);
	for (size_t i = 0; i < a->count; i++)
		base_close(a->fds[i]);
	*a = (struct daemon_answer){0};
}

int daemon_answer_take(struct daemon_answer *a, const char *name)
{
	json_t *names = json_object_get(a->json, "descriptors");

	for (size_t i = 0; i < a->count; i++) {
		const char *its = json_string_value(json_array_get(names, i));

		if (its && streq(its, name))
			return TAKE_FD(a->fds[i]);
	}
	return -1;
}

static int receive(struct daemon *d, struct daemon_answer *ret)
{
	int r;

	*ret = (struct daemon_answer){0};
	do
		r = packet_recv(d->fd, &ret->json, ret->fds, &ret->count);
	while (r == -EINTR);
	if (r <= 0)
		return r == 0 ? -ECONNRESET : r;
	if (json_object_get(ret->json, "volumes"))
		d->volumes = true;
	else if (json_object_get(ret->json, "changed"))
		d->changed = true;
	else
		return 1;
	daemon_answer_done(ret);
	return 0;
}

static int wait_readable(const struct daemon *d, int timeout_ms)
{
	struct pollfd p = {.fd = d->fd, .events = POLLIN};
	int r = poll(&p, 1, timeout_ms);

	return r < 0 && errno != EINTR ? -errno : r > 0;
}

int daemon_ask_file(
	struct daemon *d, json_t *question, int fd, struct daemon_answer *ret, struct error *err)
{
	int r = question ? packet_send(d->fd, question, &fd, fd >= 0) : -ENOMEM;

	json_decref(question);
	*ret = (struct daemon_answer){0};
	while (r == 0) {
		r = wait_readable(d, ANSWER_MS);
		r = r == 0 ? -ETIMEDOUT : r < 0 ? r : receive(d, ret);
	}
	if (r < 0)
		return fail_errno(err, r, "cannot ask the node's daemon");
	r = packet_check_refusal(&ret->json, err);
	if (r < 0)
		daemon_answer_done(ret);
	return r;
}

int daemon_hear(struct daemon *d)
{
	struct daemon_answer nothing;
	int r;

	while ((r = wait_readable(d, 0)) > 0) {
		r = receive(d, &nothing);
		if (r < 0)
			break;
		if (r > 0)
			daemon_answer_done(&nothing); /* to nobody's question */
	}
	return r;
}

int daemon_ask(struct daemon *d, json_t *question, struct daemon_answer *ret, struct error *err)
{
	return daemon_ask_file(d, question, -1, ret, err);
}

int daemon_wait(struct daemon *d, uint64_t deadline_us)
{
	struct daemon_answer nothing;

	while (!d->changed && !d->volumes) {
		uint64_t now = clock_now_us();
		int r;

		if (now >= deadline_us)
			return 0;
		r = wait_readable(d, (int)MIN_OF((deadline_us - now) / 1000 + 1, (uint64_t)60000));
		if (r > 0)
			r = receive(d, &nothing);
		if (r > 0)
			daemon_answer_done(&nothing); /* to nobody's question */
		if (r < 0)
			return r;
	}
	return 0;
}
