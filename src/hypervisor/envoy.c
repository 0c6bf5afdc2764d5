#include "hypervisor/envoy.h"

#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "engine/packet.h"
#include "engine/site_account.h"
#include "hypervisor/hypervisor.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

#define SECOND UINT64_C(1000000)

#define PAUSE_MIN_US SECOND
#define PAUSE_MAX_US (30 * SECOND)
#define LIVED_US     (60 * SECOND) /* after which the pause begins anew */

/* One that ends so often in a row is no help to those who wait. */
#define SHORT_LIVES_MAX 4

struct envoy {
	struct hypervisor *hypervisor;
	const char *program, *purpose;
	const struct envoy_calls *calls;
	void *userdata;
	sd_event_source *tick, *child, *packets;
	int pidfd, fd; /* -1: it does not run */
	uint64_t spawned_us, pause_us, next_us;
	uint64_t generation; /* of those that were started */
	unsigned int short_lives;
	bool wanted;
	bool ended; /* by us */
};

bool envoy_is_running(const struct envoy *e)
{
	return e->pidfd >= 0;
}

static void forget(struct envoy *e)
{
	e->child = sd_event_source_disable_unref(e->child);
	e->packets = sd_event_source_disable_unref(e->packets);
	e->pidfd = base_close(e->pidfd);
	e->fd = base_close(e->fd);
	e->ended = false;
	e->generation++;
	e->calls->gone(e->userdata);
}

static void stop(struct envoy *e)
{
	if (e->pidfd >= 0)
		child_kill(e->pidfd);
	forget(e);
}

/* Its death is heard like any other; nobody waits for one that is at the disk. */
static void end(struct envoy *e)
{
	if (e->pidfd < 0)
		return;
	e->packets = sd_event_source_disable_unref(e->packets);
	e->fd = base_close(e->fd);
	e->ended = true;
	pidfd_send_signal(e->pidfd, SIGKILL, NULL, 0);
}

static void schedule(struct envoy *e)
{
	uint64_t now = clock_now_us();

	if (!e->wanted || e->pidfd >= 0)
		return;
	sd_event_source_set_time_relative(e->tick, e->next_us > now ? e->next_us - now : 0);
	sd_event_source_set_enabled(e->tick, SD_EVENT_ONESHOT);
}

/* Whoever waits for it is told, instead of waiting for something that does not come. */
static void give_up(struct envoy *e, const char *why)
{
	if (e->short_lives < SHORT_LIVES_MAX || !e->calls->failing)
		return;
	e->short_lives = 0;
	e->calls->failing(e->userdata, why);
}

static void pause_longer(struct envoy *e)
{
	e->pause_us = MIN_OF(MAX_OF(2 * e->pause_us, PAUSE_MIN_US), PAUSE_MAX_US);
	e->next_us = clock_now_us() + e->pause_us;
	e->short_lives++;
}

static void has_failed(struct envoy *e)
{
	char why[256];

	pause_longer(e);
	log_warning("%s has ended; it is started again in %llu s", e->program,
		(unsigned long long)(e->pause_us / SECOND));
	snprintf(why, sizeof(why),
		"%s ends again and again; the node's log (journalctl -u wnodes-hypervisor) says "
		"why",
		e->program);
	give_up(e, why);
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct envoy *e = userdata;
	bool by_us = e->ended, meant = child_wait(fd, 0) == 0 || by_us;

	forget(e);
	if (clock_now_us() - e->spawned_us > LIVED_US)
		e->pause_us = e->short_lives = 0;
	if (meant)
		e->next_us = clock_now_us() + (by_us ? 0 : PAUSE_MIN_US);
	else
		has_failed(e);
	schedule(e);
	return 0;
}

static int on_packet(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct envoy *e = userdata;
	int fds[PACKET_FDS_MAX], r;
	json_t *json = NULL;
	size_t count = 0;

	r = packet_recv(fd, &json, fds, &count);
	if (r == -EAGAIN || r == -EINTR)
		return 0;
	if (r <= 0) { /* it ends, or is none of ours any more */
		e->packets = sd_event_source_disable_unref(e->packets);
		pidfd_send_signal(e->pidfd, SIGKILL, NULL, 0);
		return 0;
	}
	e->calls->packet(e->userdata, json, count > 0 ? fds[0] : -1);
	while (count > 0)
		close(fds[--count]);
	json_decref(json);
	return 0;
}

static int spawn(struct envoy *e, int socket, struct error *err)
{
	autofree char *program = path_own_program(e->program);
	const char *argv[] = {program, NULL};
	struct child_spec child = CHILD_SPEC_INIT;

	if (!program)
		return fail(err, -ENOMEM, "out of memory");
	child.argv = argv;
	child.stdin_fd = socket;
	child.workdir = "/";
	child.new_session = true;
	child.no_new_privs = true;
	child.set_user = geteuid() == 0;
	site_account_find(e->hypervisor->settings.site_user, &child.uid, &child.gid);
	return child_spawn(&child, NULL, &e->pidfd, err);
}

static int start(struct envoy *e, struct error *err)
{
	sd_event *event = e->hypervisor->event;
	autoclose int theirs = -1;
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_errno(err, -errno, "cannot make a socket");
	e->fd = ends[0];
	theirs = ends[1];
	file_set_nonblocking(e->fd, true);
	r = spawn(e, theirs, err);
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &e->child, e->pidfd, EPOLLIN, on_end, e);
	if (r >= 0)
		r = sd_event_add_io(event, &e->packets, e->fd, EPOLLIN, on_packet, e);
	return r < 0 ? fail_errno(err, r, "cannot watch %s", e->program) : 0;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct envoy *e = userdata;
	struct error err = {0};

	if (!e->wanted || e->pidfd >= 0)
		return 0;
	e->spawned_us = clock_now_us();
	if (start(e, &err) == 0)
		return 0;
	stop(e);
	pause_longer(e);
	log_warning("%s: %s, retrying in %llu s", e->purpose, err.text,
		(unsigned long long)(e->pause_us / SECOND));
	give_up(e, err.text);
	schedule(e);
	return 0;
}

int envoy_new(struct hypervisor *h, const char *program, const char *purpose,
	const struct envoy_calls *calls, void *userdata, struct envoy **ret, struct error *err)
{
	struct envoy *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return fail(err, -ENOMEM, "out of memory");
	*e = (struct envoy){.hypervisor = h, .program = program, .purpose = purpose};
	e->calls = calls;
	e->userdata = userdata;
	e->fd = e->pidfd = -1;
	r = sd_event_add_time_relative(h->event, &e->tick, CLOCK_MONOTONIC, 0, 0, on_tick, e);
	if (r < 0) {
		free(e);
		return fail_errno(err, r, "cannot set up the event loop");
	}
	*ret = e;
	return 0;
}

struct envoy *envoy_free(struct envoy *e)
{
	if (!e)
		return NULL;
	stop(e);
	sd_event_source_disable_unref(e->tick);
	free(e);
	return NULL;
}

void envoy_renew(struct envoy *e)
{
	end(e);
	e->next_us = 0;
	schedule(e);
}

void envoy_want(struct envoy *e, bool wanted)
{
	e->wanted = wanted;
	if (wanted)
		schedule(e);
	else
		envoy_renew(e);
}

bool envoy_tell(struct envoy *e, json_t *packet)
{
	bool told = packet && e->fd >= 0 && packet_send(e->fd, packet, NULL, 0) == 0;

	json_decref(packet);
	return told;
}

void envoy_answer(struct envoy *e, json_t *answer, const int *fds, size_t count)
{
	int r = answer ? packet_send(e->fd, answer, fds, count) : -ENOMEM;

	json_decref(answer);
	if (r < 0)
		shutdown(e->fd, SHUT_RDWR);
}

uint64_t envoy_pause(struct envoy *e)
{
	sd_event_source_set_enabled(e->packets, SD_EVENT_OFF);
	return e->generation;
}

bool envoy_resume(struct envoy *e, uint64_t who)
{
	if (who != e->generation || e->fd < 0)
		return false;
	if (e->packets)
		sd_event_source_set_enabled(e->packets, SD_EVENT_ON);
	return true;
}
