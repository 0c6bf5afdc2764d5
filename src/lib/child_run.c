/* Children whose output is collected: run to their end, with what they complained of at hand. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/buffer.h"
#include "lib/child.h"
#include "lib/deadline.h"
#include "lib/parse.h"

/* The end of stderr that is kept for the message. */
#define STDERR_TAIL 400
#define READ_CHUNK  4096

/* A child whose output is being collected. */
struct collector {
	const struct child_spec *spec;
	size_t max; /* of stdout */
	pid_t pid;
	int pidfd, out_fd, err_fd; /* -1: at its end, or not ours */
	struct buffer out, err;
};

static void collector_done(struct collector *c)
{
	base_close(c->pidfd);
	base_close(c->out_fd);
	base_close(c->err_fd);
	buffer_done(&c->out);
	buffer_done(&c->err);
}

/* Starts the child with pipes where the caller gave no descriptor. stdout's only if asked for. */
static int collector_start(struct collector *c, bool capture, struct error *err)
{
	struct child_spec spec = *c->spec;
	int out[2] = {-1, -1}, errors[2] = {-1, -1};
	int r = 0;

	if (capture)
		r = child_pipe(out);
	if (r >= 0 && spec.stderr_fd < 0)
		r = child_pipe(errors);
	if (capture)
		spec.stdout_fd = out[1];
	if (spec.stderr_fd < 0)
		spec.stderr_fd = errors[1];
	c->out_fd = out[0];
	c->err_fd = errors[0];
	if (r < 0)
		fail_errno(err, r, "cannot start '%s': pipe", spec.argv[0]);
	else
		r = child_spawn(&spec, &c->pid, &c->pidfd, err);
	base_close(out[1]);
	base_close(errors[1]);
	return r;
}

/* Reads once what is there. Returns 1 if it read something, 0 at the end or if nothing is there
 * yet (the descriptor is then closed, or left), or negative errno. */
static int collector_read(int *fd, struct buffer *to)
{
	struct pollfd pollfd = {.fd = *fd, .events = POLLIN};
	ssize_t n;

	if (*fd < 0 || poll(&pollfd, 1, 0) <= 0)
		return 0;
	n = buffer_read(to, *fd, READ_CHUNK);
	if (n <= 0)
		*fd = base_close(*fd);
	return n < 0 ? (int)n : n > 0;
}

/* Takes in both streams. Returns 1 if something came, 0, or negative errno. */
static int collector_pump(struct collector *c)
{
	int out = collector_read(&c->out_fd, &c->out);
	int errors = collector_read(&c->err_fd, &c->err);

	if (out < 0 || errors < 0)
		return out < 0 ? out : errors;
	if (c->out.len > c->max)
		return -EFBIG;
	if (c->err.len > STDERR_TAIL)
		buffer_consume(&c->err, c->err.len - STDERR_TAIL);
	return out || errors;
}

/* Collects until the child has ended. Its own children may hold the pipes for longer: what they
 * still write is not waited for. Returns the wait status or negative errno. */
static int collector_run(struct collector *c, int timeout_ms)
{
	uint64_t deadline = deadline_in_ms(timeout_ms);
	int r;

	for (;;) {
		struct pollfd fds[] = {
			{.fd = c->pidfd, .events = POLLIN},
			{.fd = c->out_fd, .events = POLLIN},
			{.fd = c->err_fd, .events = POLLIN},
		};

		r = deadline_poll(fds, ARRAY_SIZE(fds), deadline);
		if (r < 0)
			return r;
		if (fds[0].revents && !fds[1].revents && !fds[2].revents)
			return child_wait(c->pidfd, 0);
		r = collector_pump(c);
		if (r < 0)
			return r;
		/* Someone who writes without end must not keep us past the timeout. */
		if (deadline_left_ms(deadline) == 0)
			return fds[0].revents ? child_wait(c->pidfd, 0) : -ETIMEDOUT;
	}
}

/* The collected stderr as one line, without anything that a terminal would obey. */
static const char *collector_complaint(struct collector *c, char text[STDERR_TAIL + 3])
{
	size_t n = c->err.len, used = 0;
	const uint8_t *p = buffer_head(&c->err);

	for (size_t i = 0; i < n; i++) {
		bool blank = p[i] <= ' ' || p[i] == 0x7f;

		if (!blank)
			text[used++] = (char)p[i];
		else if (used > 0 && text[used - 1] != ' ')
			text[used++] = ' ';
	}
	while (used > 0 && text[used - 1] == ' ')
		used--;
	text[used] = '\0';
	return text;
}

static int collector_report(struct collector *c, int status, int timeout_ms, struct error *err)
{
	const char *program = c->spec->argv[0];
	char tail[STDERR_TAIL + 3], time[FORMAT_MAX];
	const char *complaint = collector_complaint(c, tail);
	const char *colon = *complaint ? ": " : "";

	if (status == -ETIMEDOUT)
		return fail(err, status, "'%s' was stopped, not being done after %s%s%s", program,
			format_duration((uint64_t)timeout_ms * 1000, time), colon, complaint);
	if (status == -EFBIG)
		return fail(err, status, "'%s' was stopped, writing more than %zu bytes", program,
			c->max);
	if (status < 0)
		return fail_errno(err, status, "cannot read what '%s' writes", program);
	if (WIFSIGNALED(status))
		return fail(err, -EIO, "'%s' was ended by signal %d (%s)%s%s", program,
			WTERMSIG(status), strsignal(WTERMSIG(status)), colon, complaint);
	if (WEXITSTATUS(status) != 0)
		return fail(err, -EIO, "'%s' failed with status %d%s%s", program,
			WEXITSTATUS(status), colon, complaint);
	return 0;
}

static int collector_all(struct collector *c, bool capture, int timeout_ms, struct error *err)
{
	int status, r;

	r = collector_start(c, capture, err);
	if (r < 0)
		return r;
	status = collector_run(c, timeout_ms);
	if (status < 0) {
		/* The leader of a session takes its children with it. */
		if (c->spec->new_session)
			kill(-c->pid, SIGKILL);
		child_kill(c->pidfd);
	}
	return collector_report(c, status, timeout_ms, err);
}

int child_run(const struct child_spec *spec, int timeout_ms, struct error *err)
{
	struct collector c AUTO(collector_done) = {
		.spec = spec, .pidfd = -1, .out_fd = -1, .err_fd = -1};

	return collector_all(&c, false, timeout_ms, err);
}

int child_output(
	const struct child_spec *spec, int timeout_ms, size_t max, char **ret, struct error *err)
{
	struct collector c AUTO(collector_done) = {
		.spec = spec, .max = max, .pidfd = -1, .out_fd = -1, .err_fd = -1};
	int r = collector_all(&c, true, timeout_ms, err);

	if (r < 0)
		return r;
	*ret = malloc(c.out.len + 1);
	if (!*ret)
		return fail(err, -ENOMEM, "out of memory");
	if (c.out.len > 0)
		memcpy(*ret, buffer_head(&c.out), c.out.len);
	(*ret)[c.out.len] = '\0';
	return 0;
}
