#include "hypervisor/listener.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "engine/packet.h"
#include "hypervisor/client.h"
#include "hypervisor/hypervisor.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"

#define LISTENER_BACKLOG 1024

/* Each connection may have itself, two files of its VM and an image that is being opened; a part is
 * left for the rest of us. */
#define DESCRIPTORS_A_CLIENT 8
#define DESCRIPTORS_SPARE    64

/* How often files are cut to their limits, and connections that ask for nothing are ended. */
#define SWEEP_US (5 * UINT64_C(1000000))

struct listener {
	struct hypervisor *hypervisor;
	sd_event_source *source, *sweep;
	int fd;
	struct client **clients;
	size_t count, max;
};

static void on_client_gone(struct client *c, void *userdata)
{
	struct listener *l = userdata;

	for (size_t i = 0; i < l->count; i++)
		if (l->clients[i] == c) {
			l->clients[i] = l->clients[--l->count];
			return;
		}
}

/* Who is turned away is told why, if the packet fits into the socket. */
static void refuse(int fd, const char *why)
{
	json_t *answer = json_pack("{s:s}", "error", why);

	if (answer)
		packet_send(fd, answer, NULL, 0);
	json_decref(answer);
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct listener *l = userdata;
	struct hypervisor *h = l->hypervisor;
	autoclose int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct allowance *allowance;
	struct client *client;
	struct peer peer;

	if (connection < 0 || peer_get(connection, &peer) < 0)
		return 0;
	allowance = l->count < l->max ? allowances_connect(&h->allowances, peer.uid) : NULL;
	if (!allowance) {
		refuse(connection, "too many connections to the node's daemon; try again later");
		return 0;
	}
	client = client_new(h, TAKE_FD(connection), &peer, allowance, on_client_gone, l);
	if (!client) {
		allowances_disconnect(&h->allowances, allowance);
		return 0;
	}
	l->clients[l->count++] = client;
	return 0;
}

void listener_each(
	struct listener *l, void (*each)(struct client *c, void *userdata), void *userdata)
{
	/* From the end, as the last takes the place of one that goes. */
	for (size_t i = l->count; i-- > 0;)
		if (i < l->count)
			each(l->clients[i], userdata);
}

static void sweep_client(struct client *c, void *userdata)
{
	const uint64_t *now = userdata;

	client_sweep(c, *now);
}

static int on_sweep(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct listener *l = userdata;
	uint64_t now = clock_now_us();

	listener_each(l, sweep_client, &now);
	sd_event_source_set_time_relative(source, SWEEP_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* A socket that a killed daemon has left answers nobody; we hold the lock, so it is nobody's. */
/* The directory is that of root's own VMs as well, which make it for root alone if they are first.
 */
static int open_directory(const char *path, struct error *err)
{
	struct stat st;
	int r = file_make_dirs(path, 0755);

	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", path);
	if (stat(path, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & S_IXOTH) &&
		chmod(path, 0755) < 0)
		return fail_errno(err, -errno, "cannot open '%s' to users", path);
	return 0;
}

static int listen_on(const char *path, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autoclose int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	autofree char *directory = strdup(path);
	struct stat st;

	if (!directory || strlen(path) >= sizeof(address.sun_path) || !strrchr(directory, '/'))
		return fail(err, -ENAMETOOLONG, "'%s' cannot be the path of a socket", path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	*strrchr(directory, '/') = '\0';
	if (directory[0] && open_directory(directory, err) < 0)
		return err->code;
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(path, 0666) < 0 || listen(fd, LISTENER_BACKLOG) < 0)
		return fail_errno(err, -errno, "cannot listen on '%s'", path);
	return TAKE_FD(fd);
}

static size_t clients_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < 2 * DESCRIPTORS_SPARE)
		return DESCRIPTORS_SPARE / DESCRIPTORS_A_CLIENT;
	return MIN_OF((size_t)((limit.rlim_cur - DESCRIPTORS_SPARE) / DESCRIPTORS_A_CLIENT),
		(size_t)65536);
}

int listener_open(struct hypervisor *h, const char *path, struct listener **ret, struct error *err)
{
	struct listener *l = calloc(1, sizeof(*l));
	int r;

	*ret = l;
	if (!l)
		return fail(err, -ENOMEM, "out of memory");
	l->hypervisor = h;
	l->max = clients_max();
	l->clients = calloc(l->max, sizeof(struct client *));
	l->fd = l->clients ? listen_on(path, err) : fail(err, -ENOMEM, "out of memory");
	if (l->fd < 0)
		return l->fd;
	r = sd_event_add_io(h->event, &l->source, l->fd, EPOLLIN, on_connection, l);
	if (r >= 0)
		r = sd_event_add_time_relative(
			h->event, &l->sweep, CLOCK_MONOTONIC, SWEEP_US, 0, on_sweep, l);
	return r < 0 ? fail_errno(err, r, "cannot watch '%s'", path) : 0;
}

struct listener *listener_free(struct listener *l)
{
	if (!l)
		return NULL;
	while (l->count > 0)
		client_end(l->clients[l->count - 1]);
	sd_event_source_disable_unref(l->source);
	sd_event_source_disable_unref(l->sweep);
	base_close(l->fd);
	free(l->clients);
	free(l);
	return NULL;
}
