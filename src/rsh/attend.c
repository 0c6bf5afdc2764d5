#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/wire.h"
#include "rsh/crew.h"
#include "rsh/relay.h"
#include "rsh/serve.h"

#define EXIT_OURS 125

/* Between two attempts to reach the first task, and how long one may take. */
#define RETRY_MS   100
#define CONNECT_MS 3000

/* The first task's VM may still be on its way. Returns a descriptor or negative errno. */
static int attend_connect(const struct job *j, const struct crew_task *t, struct error *err)
{
	int64_t deadline = relay_now_ms() + (int64_t)t->wait_s * 1000;
	uint8_t who[8];
	int fd, r;

	le32_store(who, t->host);
	le32_store(who + 4, t->rank);
	for (;;) {
		fd = link_connect(j, j->hosts[0].address, CONNECT_MS, err);
		if (fd >= 0 || fd == -EKEYREJECTED || relay_now_ms() > deadline)
			break;
		usleep(RETRY_MS * 1000);
	}
	if (fd < 0) {
		fail_within(err, "the first task's VM, %s on %s, did not come within %d s",
			j->hosts[0].name, j->hosts[0].node, t->wait_s);
		return fd;
	}
	r = link_send(fd, PACKET_ATTEND, who, sizeof(who));
	return r < 0 ? fail_errno(err, r, "cannot join the first task") : fd;
}

/* Of several tasks in a VM the first to come serves it; in the first task's, that one itself. */
static int attend_listen(const struct job *j, const struct crew_task *t)
{
	struct error unused = {0};

	return t->host == 0 ? -1 : link_listen(j->hosts[t->host].address, &unused);
}

/* Returns the exit status when the first task has told it, else -1. */
static int attend_take(int fd)
{
	struct packet p;
	int code = -1;

	if (link_recv(fd, &p) <= 0) {
		fprintf(stderr, "wnodes: the first task was lost with its VM\n");
		return EXIT_OURS;
	}
	if (p.type == PACKET_EXIT && p.length == 1)
		code = p.data[0];
	free(p.data);
	return code;
}

/* Signals to the job are for the command: the first task passes them on. */
static void attend_reap(int signals)
{
	relay_drain(signals);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static int attend_loop(const struct job *j, int fd, int listener, int signals)
{
	for (int code = -1; code < 0;) {
		struct pollfd set[] = {
			{.fd = fd, .events = POLLIN},
			{.fd = listener, .events = POLLIN},
			{.fd = signals, .events = POLLIN},
		};
		struct attendance unused;
		int other = -1;

		if (poll(set, ARRAY_SIZE(set), -1) < 0)
			continue;
		if (set[2].revents)
			attend_reap(signals);
		if (set[1].revents)
			serve_connection(j, listener, &unused, &other);
		base_close(other);
		if (set[0].revents)
			code = attend_take(fd);
		if (code >= 0)
			return code;
	}
	return EXIT_OURS;
}

int crew_attend(const struct job *j, const struct crew_task *t)
{
	struct error err = {0};
	int signals = relay_watch_signals(), fd, listener, code;

	if (t->host >= j->count) {
		fprintf(stderr, "wnodes: there is no VM number %u\n", t->host);
		return EXIT_OURS;
	}
	/* Before we are counted: from then on the command may want us. */
	listener = attend_listen(j, t);
	fd = attend_connect(j, t, &err);
	if (fd < 0) {
		fprintf(stderr, "wnodes: %s\n", err.text);
		return EXIT_OURS;
	}
	code = attend_loop(j, fd, listener, signals);
	base_close(listener);
	base_close(fd);
	return code;
}
