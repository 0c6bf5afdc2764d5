#include "hypervisor/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/packet.h"
#include "lib/file.h"
#include "lib/log.h"

const char *keeper_text(const struct keeper_call *c, const char *key)
{
	const char *text = json_string_value(json_object_get(c->question, key));

	return text ? text : "";
}

uint64_t keeper_number(const struct keeper_call *c, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(c->question, key));
}

bool keeper_is_set(const struct keeper_call *c, const char *key)
{
	return json_is_true(json_object_get(c->question, key));
}

/* The daemon is believed as far as what it says is well-formed: names are those of things of ours.
 */
static void keeper_answer(
	const struct keeper_spec *spec, int socket, json_t *question, int question_fd)
{
	autoclose int fd = -1;
	struct keeper_call c = {.question = question, .fd = question_fd, .ret_fd = &fd};
	const char *op = keeper_text(&c, "op");
	struct error err = {0};
	int r = -EINVAL;

	c.name = keeper_text(&c, "name");
	c.answer = json_pack("{s:s, s:s}", "op", op, "name", c.name);
	for (const struct keeper_op *i = spec->ops; i->op; i++)
		if (streq(i->op, op) && (!i->named || spec->name_is_valid(c.name)))
			r = i->run(spec->userdata, &c, &err);
	if (r < 0)
		json_object_set_new(c.answer, "error",
			json_string(err.text[0] ? err.text : "there is no such thing to do"));
	if (r == -ENOSPC)
		json_object_set_new(c.answer, "full", json_true());
	packet_send(socket, c.answer, &fd, r >= 0 && fd >= 0 ? 1 : 0);
	json_decref(c.answer);
}

static void keeper_loop(const struct keeper_spec *spec, int socket)
{
	for (;;) {
		int fds[PACKET_FDS_MAX], r;
		json_t *question = NULL;
		size_t count = 0;

		r = packet_recv(socket, &question, fds, &count);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			return;
		keeper_answer(spec, socket, question, count > 0 ? fds[0] : -1);
		json_decref(question);
		while (count > 0)
			close(fds[--count]);
	}
}

/* It ends by the daemon's end alone: who stops a service signals all of its processes. */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
}

/* Only the connection stays of what is open, and not that to another keeper. */
static int keep_only(int socket)
{
	int fd = STDERR_FILENO + 1;

	if (socket != fd && dup3(socket, fd, O_CLOEXEC) < 0)
		return -errno;
	close_range((unsigned int)fd + 1, ~0u, 0);
	return fd;
}

static void run(const struct keeper_spec *spec, int daemon)
{
	int socket = keep_only(daemon);
	autoclose int lock = -1;
	struct error err = {0};

	if (socket < 0)
		return;
	prctl(PR_SET_NAME, spec->name, 0, 0, 0);
	ignore_signals();
	if (spec->open(spec->userdata, &err) < 0) {
		log_error("%s", err.text);
		return;
	}
	if (spec->lock)
		lock = open(spec->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (spec->lock && (lock < 0 || file_lock(lock, true, true) < 0))
		log_warning("cannot lock '%s', ignoring", spec->lock);
	keeper_loop(spec, socket);
}

int keeper_start(const struct keeper_spec *spec, struct error *err)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_errno(err, -errno, "cannot make a socket");
	pid = fork();
	if (pid < 0) {
		close(ends[0]);
		close(ends[1]);
		return fail_errno(err, -errno, "cannot start '%s'", spec->name);
	}
	if (pid == 0) {
		close(ends[0]);
		run(spec, ends[1]);
		_exit(0);
	}
	close(ends[1]);
	if (file_set_nonblocking(ends[0], true) == 0)
		return ends[0];
	close(ends[0]);
	return fail(err, -EIO, "cannot set up the connection to '%s'", spec->name);
}
