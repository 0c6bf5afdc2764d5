/* One turn of the loop: collect descriptors, wait, then serve signals, the host's frames, the
 * streams and a shutdown under way, and send what all that has queued.
 */
#include "guest/guest.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <signal.h>

#include "guest/call.h"
#include "guest/console.h"
#include "guest/now.h"
#include "guest/version.h"

#define GUEST_PORT_WAIT_MS 30000
#define GUEST_RETRY_MS     2

/* A host that never connects has died while the VM was booting. */
#define GUEST_CONNECT_MS      120000
#define GUEST_CONNECT_SOON_MS 5000

static int guest_init_signals(struct guest *g)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	g->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return g->signal_fd < 0 ? -errno : 0;
}

int guest_init(struct guest *g, const char *port)
{
	struct error err = {0};
	int r;

	g->calls = call_entries;
	g->signal_fd = -1;
	g->link.fd = -1;
	r = guest_init_signals(g);
	if (r < 0) {
		console_print("signals: %s", strerror(-r));
		return r;
	}
	r = link_init(&g->link, port, GUEST_PORT_WAIT_MS, &err);
	if (r < 0)
		console_print("%s", err.text);
	console_debug("the port is open");
	g->connect_deadline = now_ms() + GUEST_CONNECT_MS;
	return r;
}

void guest_done(struct guest *g)
{
	streams_done(&g->streams);
	spare_end(&g->spare);
	program_stop(&g->module.program);
	sshfs_done(&g->sshfs);
	program_stop(&g->template.program);
	link_done(&g->link);
	g->signal_fd = base_close(g->signal_fd);
}

static void guest_reap(struct guest *g)
{
	struct rusage usage;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
		if (!program_on_exit(&g->module.program, pid, status) &&
			!program_on_exit(&g->template.program, pid, status) &&
			!sshfs_on_exit(&g->sshfs, pid, status) && !spare_on_exit(&g->spare, pid))
			streams_on_exit(&g->streams, pid, status, &usage, now_ms());
}

static void guest_on_signal(struct guest *g)
{
	struct signalfd_siginfo info;

	while (read(g->signal_fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGTERM && !g->is_init)
			g->stop = true;
	guest_reap(g);
}

/* Until the host connects the port reports nothing but "hung up", so it is asked now and then. */
static int guest_connect(struct guest *g, int64_t now)
{
	if (link_is_connected(&g->link)) {
		g->link.state = LINK_HELLO;
		console_debug("the host is there");
		return version_send_hello(&g->link);
	}
	return g->is_init && now > g->connect_deadline ? -ETIMEDOUT : 0;
}

/* Often at first, when every millisecond counts for the start of a VM. */
static int64_t guest_connect_tick(const struct guest *g)
{
	int64_t waited = now_ms() - (g->connect_deadline - GUEST_CONNECT_MS);

	return waited < GUEST_CONNECT_SOON_MS ? 2 : 100;
}

static int guest_poll(struct guest *g, struct pollset *set, int *ret_link, int *ret_signal)
{
	bool held = g->call_deadline > 0 || link_is_full(&g->link);

	set->count = 0;
	set->timeout_ms = -1;
	*ret_signal = pollset_add(set, g->signal_fd, POLLIN);
	*ret_link = -1;
	if (g->link.state == LINK_WAIT)
		pollset_wake(set, guest_connect_tick(g));
	else
		*ret_link = pollset_add(set, g->link.fd,
			(short)((held ? 0 : POLLIN) | (g->link.out.len ? POLLOUT : 0)));
	if (g->call_deadline > 0)
		pollset_wake(set, GUEST_RETRY_MS);
	power_poll(g, set);
	template_poll(g, set);
	streams_poll(&g->streams, &g->link, set, now_ms());
	if (poll(set->fds, (nfds_t)set->count, set->timeout_ms) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

static int guest_receive(struct guest *g, const struct pollset *set, int index)
{
	short events = index < 0 ? 0 : set->fds[index].revents;

	if (events & POLLIN)
		return link_receive(&g->link);
	return events & (POLLHUP | POLLERR | POLLNVAL) ? -EPIPE : 0;
}

static int guest_turn(struct guest *g, struct pollset *set)
{
	int link, signals, r;
	int64_t now;

	r = guest_poll(g, set, &link, &signals);
	if (r < 0)
		return r;
	if (pollset_has(set, signals))
		guest_on_signal(g);
	r = guest_receive(g, set, link);
	if (r == 0)
		r = call_serve(g);
	now = now_ms();
	if (r == 0 && g->link.state == LINK_WAIT)
		r = guest_connect(g, now);
	if (r == 0)
		r = streams_serve(&g->streams, &g->link, set, now);
	if (r == 0)
		r = template_tick(g);
	if (r == 0)
		r = power_tick(g, now);
	if (r == 0)
		r = link_flush(&g->link);
	if (r == 0 && !g->streams.first)
		link_trim(&g->link);
	return r;
}

int guest_run(struct guest *g)
{
	struct pollset set;
	int r = 0;

	while (r == 0 && !g->stop)
		r = guest_turn(g, &set);
	return r;
}
