#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

#include "engine/packet.h"
#include "engine/site_account.h"
#include "hypervisor/porter_private.h"
#include "hypervisor/pull.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

#define SECOND UINT64_C(1000000)

/* One that ends is started again: after a pause that grows, unless it has lived for a while. */
#define PAUSE_MIN_US SECOND
#define PAUSE_MAX_US (30 * SECOND)
#define LIVED_US     (60 * SECOND)

/* One that ends so often in a row is no help to those who wait. */
#define SHORT_LIVES_MAX 4

bool porter_is_running(const struct porter *p)
{
	return p->pidfd >= 0;
}

void porter_note_change(struct porter *p)
{
	json_t *packet =
		!p || p->fd < 0 || p->told_change ? NULL : json_pack("{s:b}", "changed", true);

	if (packet && packet_send(p->fd, packet, NULL, 0) == 0)
		p->told_change = true;
	json_decref(packet);
}

static void forget(struct porter *p)
{
	p->child = sd_event_source_disable_unref(p->child);
	p->packets = sd_event_source_disable_unref(p->packets);
	p->pidfd = base_close(p->pidfd);
	p->fd = base_close(p->fd);
	p->told_change = p->ended = p->asked_done = false;
	p->generation++;
}

static void stop(struct porter *p)
{
	if (p->pidfd >= 0)
		child_kill(p->pidfd);
	forget(p);
}

/* Its death is heard like any other. */
static void end(struct porter *p)
{
	if (p->pidfd < 0)
		return;
	p->packets = sd_event_source_disable_unref(p->packets);
	p->fd = base_close(p->fd);
	p->ended = true;
	pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
}

static void schedule(struct porter *p)
{
	uint64_t now = clock_now_us();

	if (!p->node || p->pidfd >= 0)
		return;
	sd_event_source_set_time_relative(p->tick, p->next_us > now ? p->next_us - now : 0);
	sd_event_source_set_enabled(p->tick, SD_EVENT_ONESHOT);
}

/* Whoever waits for an image is told, instead of waiting for something that does not come. */
static void give_up(struct porter *p, const char *why)
{
	if (p->short_lives < SHORT_LIVES_MAX)
		return;
	p->short_lives = 0;
	pulls_fail_all(p->hypervisor->pulls, why);
}

static void pause_longer(struct porter *p)
{
	p->pause_us = MIN_OF(MAX_OF(2 * p->pause_us, PAUSE_MIN_US), PAUSE_MAX_US);
	p->next_us = clock_now_us() + p->pause_us;
	p->short_lives++;
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct porter *p = userdata;
	bool by_us = p->ended;

	child_wait(fd, 0);
	forget(p);
	if (clock_now_us() - p->spawned_us > LIVED_US) {
		p->pause_us = 0;
		p->short_lives = 0;
	}
	if (by_us) {
		p->next_us = clock_now_us();
	} else {
		pause_longer(p);
		log_warning("wnodes-porter has ended; it is started again in %llu s",
			(unsigned long long)(p->pause_us / SECOND));
		give_up(p, "wnodes-porter, which fetches it, ends again and again; the node's log "
			   "(journalctl -u wnodes-hypervisor) says why");
	}
	schedule(p);
	return 0;
}

static int on_packet(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct porter *p = userdata;
	int fds[PACKET_FDS_MAX], r;
	json_t *json = NULL;
	size_t count = 0;

	r = packet_recv(fd, &json, fds, &count);
	if (r == -EAGAIN || r == -EINTR)
		return 0;
	if (r <= 0) { /* it ends, or is none of ours any more */
		p->packets = sd_event_source_disable_unref(p->packets);
		pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
		return 0;
	}
	while (count > 0)
		close(fds[--count]);
	porter_answer(p, json);
	json_decref(json);
	return 0;
}

static int spawn(struct porter *p, int socket, struct error *err)
{
	autofree char *program = path_own_program("wnodes-porter");
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
	site_account_find(p->hypervisor->settings.site_user, &child.uid, &child.gid);
	return child_spawn(&child, NULL, &p->pidfd, err);
}

static int start(struct porter *p, struct error *err)
{
	sd_event *event = p->hypervisor->event;
	autoclose int theirs = -1;
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_errno(err, -errno, "cannot make a socket");
	p->fd = ends[0];
	theirs = ends[1];
	file_set_nonblocking(p->fd, true);
	r = spawn(p, theirs, err);
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &p->child, p->pidfd, EPOLLIN, on_end, p);
	if (r >= 0)
		r = sd_event_add_io(event, &p->packets, p->fd, EPOLLIN, on_packet, p);
	return r < 0 ? fail_errno(err, r, "cannot watch wnodes-porter") : 0;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct porter *p = userdata;
	struct error err = {0};

	if (!p->node || p->pidfd >= 0)
		return 0;
	p->spawned_us = clock_now_us();
	if (start(p, &err) < 0) {
		stop(p);
		pause_longer(p);
		log_warning("images cannot be fetched: %s, retrying in %llu s", err.text,
			(unsigned long long)(p->pause_us / SECOND));
		give_up(p, err.text);
		schedule(p);
	}
	return 0;
}

static void on_directory(void *userdata)
{
	porter_note_change(userdata);
}

int porter_new(struct hypervisor *h, struct porter **ret, struct error *err)
{
	struct porter *p AUTO(porter_freep) = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return fail(err, -ENOMEM, "out of memory");
	p->hypervisor = h;
	p->fd = p->pidfd = -1;
	r = sd_event_add_time_relative(h->event, &p->tick, CLOCK_MONOTONIC, 0, 0, on_tick, p);
	if (r < 0)
		return fail_errno(err, r, "cannot set up the event loop");
	r = directories_new(h->event, on_directory, p, &p->directories, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

struct porter *porter_free(struct porter *p)
{
	if (!p)
		return NULL;
	stop(p);
	sd_event_source_disable_unref(p->tick);
	directories_free(p->directories);
	free(p->node);
	free(p);
	return NULL;
}

void porter_renew(struct porter *p)
{
	if (!p)
		return;
	end(p);
	p->next_us = 0;
	schedule(p);
}

void porter_set_site(struct porter *p, const char *node)
{
	bool same = p && (node ? p->node && streq(p->node, node) : !p->node);

	if (!p || same)
		return;
	free(p->node);
	p->node = node ? strdup(node) : NULL;
	porter_renew(p);
}
