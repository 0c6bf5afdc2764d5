#include "hypervisor/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "lib/thread.h"

/* What the thread of one does, and its end of a socket to us: when we are gone, nobody hears it. */
struct opening {
	char *path;
	int socket;
};

struct outcome {
	int fd, code;
};

struct directory {
	struct directories *owner;
	struct directory *next;
	char *path;
	sd_event_source *source; /* NULL: it is not being opened */
	int socket;
	struct outcome outcome; /* nobody has asked for yet; both 0: there is none */
};

struct directories {
	sd_event *event;
	void (*opened)(void *userdata);
	void *userdata;
	struct directory *first;
};

static void *run(void *userdata)
{
	struct opening *o = userdata;
	struct outcome outcome = {.fd = open(o->path, O_PATH | O_DIRECTORY | O_CLOEXEC)};

	outcome.code = outcome.fd < 0 ? -errno : 0;
	if (send(o->socket, &outcome, sizeof(outcome), MSG_NOSIGNAL) < 0)
		base_close(outcome.fd);
	close(o->socket);
	free(o->path);
	free(o);
	return NULL;
}

/* Takes the socket. */
static int start(const char *path, int socket)
{
	struct opening *o = calloc(1, sizeof(*o));
	pthread_t thread;
	int r = -ENOMEM;

	if (o) {
		o->path = strdup(path);
		o->socket = socket;
	}
	if (o && o->path)
		r = thread_start(&thread, run, o);
	if (r == 0)
		return -pthread_detach(thread);
	close(socket);
	if (o)
		free(o->path);
	free(o);
	return r;
}

static int on_opened(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct directory *i = userdata;
	struct directories *d = i->owner;

	if (recv(fd, &i->outcome, sizeof(i->outcome), MSG_DONTWAIT) != sizeof(i->outcome))
		i->outcome = (struct outcome){-1, -EIO};
	i->source = sd_event_source_disable_unref(i->source);
	i->socket = base_close(i->socket);
	d->opened(d->userdata);
	return 0;
}

static struct directory *find(const struct directories *d, const char *path)
{
	struct directory *i = d->first;

	while (i && !streq(i->path, path))
		i = i->next;
	return i;
}

static struct directory *add(struct directories *d, const char *path)
{
	struct directory *i = calloc(1, sizeof(*i));

	if (i)
		i->path = strdup(path);
	if (!i || !i->path) {
		free(i);
		return NULL;
	}
	i->owner = d;
	i->socket = -1;
	i->next = d->first;
	d->first = i;
	return i;
}

static int begin(struct directory *i)
{
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	i->socket = ends[0];
	r = sd_event_add_io(i->owner->event, &i->source, i->socket, EPOLLIN, on_opened, i);
	if (r < 0)
		close(ends[1]);
	else
		r = start(i->path, ends[1]);
	if (r < 0) {
		i->source = sd_event_source_disable_unref(i->source);
		i->socket = base_close(i->socket);
	}
	return r;
}

int directories_new(sd_event *event, void (*opened)(void *userdata), void *userdata,
	struct directories **ret, struct error *err)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return fail(err, -ENOMEM, "out of memory");
	**ret = (struct directories){.event = event, .opened = opened, .userdata = userdata};
	return 0;
}

struct directories *directories_free(struct directories *d)
{
	while (d && d->first) {
		struct directory *i = d->first;

		d->first = i->next;
		sd_event_source_disable_unref(i->source);
		base_close(i->socket);
		if (i->outcome.fd > 0)
			close(i->outcome.fd);
		free(i->path);
		free(i);
	}
	free(d);
	return NULL;
}

int directories_open(struct directories *d, const char *path, struct error *err)
{
	struct directory *i = find(d, path);
	struct outcome outcome;
	int r;

	if (!i)
		i = add(d, path);
	if (!i)
		return fail(err, -ENOMEM, "out of memory");
	outcome = i->outcome;
	i->outcome = (struct outcome){0};
	if (outcome.code < 0)
		return fail_errno(err, outcome.code, "cannot open the directory '%s'", path);
	if (outcome.fd > 0)
		return outcome.fd;
	r = i->source ? 0 : begin(i);
	return r < 0 ? fail_errno(err, r, "cannot open the directory '%s'", path) : -EAGAIN;
}
