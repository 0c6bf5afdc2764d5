#include "rsh/client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "rsh/relay.h"

#define CONNECT_MS 10000

/* ssh's own: something went wrong on the way. */
#define EXIT_LOST 255

struct client {
	int fd, signals;
	bool input_open, has_input;
	int code;
};

/* Options of ssh and rsh that launchers give, and whether they have a value. */
static int skip_options(int argc, char **argv, bool *ret_no_input)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		*ret_no_input |= streq(argv[i], "-n");
		if (strchr("lopiFceEbBDIJLmOQRSwW", argv[i][1]) && !argv[i][2])
			i++;
	}
	return i;
}

/* The words, as ssh would send them: one text, for the other side's shell. */
static char *join(char **words)
{
	size_t size = 1;
	char *text, *end;

	for (char **w = words; *w; w++)
		size += strlen(*w) + 1;
	text = end = calloc(1, size);
	for (char **w = words; text && *w; w++)
		end += snprintf(
			end, size - (size_t)(end - text), "%s%s", w == words ? "" : " ", *w);
	return text;
}

static bool write_all(int fd, const uint8_t *data, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, data, length);

		if (n < 0 && errno != EINTR)
			return false;
		data += MAX_OF(n, 0);
		length -= (size_t)MAX_OF(n, 0);
	}
	return true;
}

static int client_take(struct client *c)
{
	struct packet p;
	int r = link_recv(c->fd, &p);

	if (r <= 0)
		return r < 0 ? r : -ECONNRESET;
	if (p.type == PACKET_OUTPUT && !write_all(STDOUT_FILENO, p.data, p.length))
		r = -EPIPE;
	if (p.type == PACKET_ERRORS)
		write_all(STDERR_FILENO, p.data, p.length);
	if (p.type == PACKET_EXIT && p.length == 1) {
		c->code = p.data[0];
		r = 0;
	}
	free(p.data);
	return r;
}

/* The server reads on while the command reads its input, so that this waits only for that, and the
 * command's output meanwhile for us: pieces are smaller than what the network has room for. */
static int client_give(struct client *c)
{
	uint8_t data[4096];
	ssize_t n = read(STDIN_FILENO, data, sizeof(data));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 1;
	c->input_open = n > 0;
	return link_send(c->fd, PACKET_INPUT, data, n > 0 ? (size_t)n : 0) < 0 ? -EPIPE : 1;
}

static int client_pass_signals(struct client *c)
{
	for (int signo; (signo = relay_next(c->signals)) > 0;) {
		const uint8_t byte = (uint8_t)signo;

		if (signo != SIGCHLD && link_send(c->fd, PACKET_SIGNAL, &byte, 1) < 0)
			return -EPIPE;
	}
	return 1;
}

/* Returns 0 when the command has ended, or negative errno. */
static int client_loop(struct client *c)
{
	int r = 1;

	while (r > 0) {
		struct pollfd set[] = {
			{.fd = c->fd, .events = POLLIN},
			{.fd = c->input_open ? STDIN_FILENO : -1, .events = POLLIN},
			{.fd = c->signals, .events = POLLIN},
			{.fd = c->fd, .events = POLLOUT},
		};

		if (poll(set, ARRAY_SIZE(set) - 1, -1) < 0)
			continue;
		if (set[0].revents)
			r = client_take(c);
		else if (set[2].revents)
			r = client_pass_signals(c);
		else if (set[1].revents && poll(set + 3, 1, 10) > 0)
			r = client_give(c);
	}
	return r;
}

static int client_start(struct client *c, const char *host, const char *command, struct error *err)
{
	struct job job AUTO(job_done) = {0};
	const struct job_host *h;
	int r = job_load(&job, err);

	if (r < 0)
		return r;
	h = job_find(&job, host);
	if (!h)
		return fail(err, -ENOENT, "'%s' is no VM of this job", host);
	c->fd = link_connect(&job, h->address, CONNECT_MS, err);
	if (c->fd < 0)
		return fail_within(err, "%s (on %s)", h->name, h->node);
	r = strlen(command) <= PACKET_MAX ? 0 : -E2BIG;
	if (r == 0)
		r = link_send(c->fd, PACKET_COMMAND, command, strlen(command));
	if (r == 0 && !c->input_open)
		r = link_send(c->fd, PACKET_INPUT, NULL, 0);
	return r < 0 ? fail_errno(err, r, "cannot run a command in %s", h->name) : 0;
}

int client_run(int argc, char **argv)
{
	struct client c = {.fd = -1, .signals = -1};
	struct error err = {0};
	bool no_input = false;
	int host = skip_options(argc, argv, &no_input), r;
	char *command autofree = host + 1 < argc ? join(argv + host + 1) : NULL;

	if (!command) {
		fprintf(stderr, "usage: wnodes-rsh HOST COMMAND...\n");
		return EXIT_LOST;
	}
	c.input_open = !no_input;
	c.signals = relay_watch_signals();
	r = client_start(&c, argv[host], command, &err);
	if (r == 0) {
		r = client_loop(&c);
		if (r < 0)
			fail_errno(&err, r, "%s: the command's VM was lost", argv[host]);
	}
	base_close(c.fd);
	if (r < 0)
		fprintf(stderr, "wnodes-rsh: %s\n", err.text);
	return r < 0 ? EXIT_LOST : c.code;
}
