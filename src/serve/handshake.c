#include "serve/handshake.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "lib/thread.h"

#define EVENTS_MAX 64

struct handshakes {
	int epoll, wake;
	gnutls_datum_t tickets; /* key of them; GnuTLS makes new ones of it by itself */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of the list and what follows */
	struct handshake *first;
	bool ending;
};

struct handshake {
	struct handshakes *owner;
	struct MHD_Connection *mhd;
	int fd;
	bool done;    /* the handshake is over */
	bool watched; /* the descriptor is known to epoll */
	/* With the lock: */
	bool waits;
	struct handshake *next, **link;
};

/* It is in the list, and suspended, for exactly as long as it waits; so it is not freed meanwhile.
 */
static void resume(struct handshake *h)
{
	if (!h->waits)
		return;
	h->waits = false;
	*h->link = h->next;
	if (h->next)
		h->next->link = h->link;
	MHD_resume_connection(h->mhd);
}

/* Returns false at the end, after which nothing is touched any more. */
static bool serve(struct handshakes *hs, const struct epoll_event *events, int count)
{
	bool ending;

	pthread_mutex_lock(&hs->lock);
	ending = hs->ending;
	while (ending && hs->first)
		resume(hs->first);
	for (int i = 0; i < count && !ending; i++)
		resume(events[i].data.ptr);
	pthread_mutex_unlock(&hs->lock);
	return !ending;
}

static void *run(void *userdata)
{
	struct handshakes *hs = userdata;
	struct epoll_event events[EVENTS_MAX];
	int count;

	do
		count = epoll_wait(hs->epoll, events, EVENTS_MAX, -1);
	while (serve(hs, events, count));
	return NULL;
}

/* Once for each time that it waits. */
static void await_client(struct handshake *h)
{
	struct handshakes *hs = h->owner;
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.ptr = h};

	pthread_mutex_lock(&hs->lock);
	if (!hs->ending && !h->waits &&
		epoll_ctl(hs->epoll, h->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, h->fd, &event) ==
			0) {
		h->watched = h->waits = true;
		h->next = hs->first;
		h->link = &hs->first;
		if (h->next)
			h->next->link = &h->next;
		hs->first = h;
		MHD_suspend_connection(h->mhd);
	}
	pthread_mutex_unlock(&hs->lock);
}

/* What GnuTLS reads by; afterwards as it would by itself. */
static ssize_t pull(gnutls_transport_ptr_t userdata, void *data, size_t size)
{
	struct handshake *h = userdata;
	ssize_t n = recv(h->fd, data, size, 0);
	int code = errno;

	if (n < 0 && code == EAGAIN && !h->done)
		await_client(h);
	errno = code;
	return n;
}

static int pull_timeout(gnutls_transport_ptr_t userdata, unsigned int ms)
{
	struct handshake *h = userdata;
	struct pollfd fd = {.fd = h->fd, .events = POLLIN};

	return poll(&fd, 1, ms == GNUTLS_INDEFINITE_TIMEOUT ? -1 : (int)ms);
}

/* The client's last message has come. */
static int on_finished(gnutls_session_t session, unsigned int type, unsigned int when,
	unsigned int incoming, const gnutls_datum_t *message)
{
	gnutls_transport_ptr_t in, out;

	gnutls_transport_get_ptr2(session, &in, &out);
	if (incoming)
		((struct handshake *)in)->done = true;
	return 0;
}

struct handshake *handshake_new(
	struct handshakes *hs, struct MHD_Connection *mhd, gnutls_session_t session, int fd)
{
	struct handshake *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	*h = (struct handshake){.owner = hs, .mhd = mhd, .fd = fd};
	gnutls_transport_set_ptr2(session, h, (gnutls_transport_ptr_t)(intptr_t)fd);
	gnutls_transport_set_pull_function(session, pull);
	gnutls_transport_set_pull_timeout_function(session, pull_timeout);
	gnutls_session_ticket_enable_server(session, &hs->tickets);
	gnutls_handshake_set_hook_function(
		session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST, on_finished);
	return h;
}

struct handshake *handshake_free(struct handshake *h)
{
	free(h);
	return NULL;
}

static int start(struct handshakes *hs)
{
	int r = thread_start(&hs->thread, run, hs);

	hs->started = r == 0;
	return r;
}

int handshakes_new(struct handshakes **ret, struct error *err)
{
	struct handshakes *hs AUTO(handshakes_freep) = calloc(1, sizeof(*hs));
	struct epoll_event event = {.events = EPOLLIN};
	int r;

	if (!hs)
		return fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&hs->lock, NULL);
	hs->epoll = epoll_create1(EPOLL_CLOEXEC);
	hs->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hs->epoll < 0 || hs->wake < 0 ||
		epoll_ctl(hs->epoll, EPOLL_CTL_ADD, hs->wake, &event) < 0)
		return fail_errno(err, -errno, "cannot wait for handshakes");
	r = gnutls_session_ticket_key_generate(&hs->tickets);
	if (r < 0)
		return fail(err, -EIO, "cannot make a key for tickets: %s", gnutls_strerror(r));
	r = start(hs);
	if (r < 0)
		return fail_errno(err, r, "cannot start a thread");
	*ret = TAKE_PTR(hs);
	return 0;
}

void handshakes_end(struct handshakes *hs)
{
	if (!hs || !hs->started)
		return;
	pthread_mutex_lock(&hs->lock);
	hs->ending = true;
	pthread_mutex_unlock(&hs->lock);
	eventfd_write(hs->wake, 1);
	pthread_join(hs->thread, NULL);
	hs->started = false;
}

struct handshakes *handshakes_free(struct handshakes *hs)
{
	if (!hs)
		return NULL;
	handshakes_end(hs);
	base_close(hs->epoll);
	base_close(hs->wake);
	pthread_mutex_destroy(&hs->lock);
	gnutls_memset(hs->tickets.data, 0, hs->tickets.size);
	gnutls_free(hs->tickets.data);
	free(hs);
	return NULL;
}
