#include "controller/connection.h"

#include <pthread.h>
#include <sys/socket.h>

#include "controller/guess.h"
#include "lib/clock.h"
#include "serve/handshake.h"

/* Each takes some 35 KiB, nearly all of it for TLS and for headers to come. Where there are very
 * many, those that are idle are closed early: nodes of a large site come each half minute, and are
 * known again by a ticket. */
#define CROWD         2000
#define CROWD_IDLE_US UINT64_C(5000000)

struct connections {
	pthread_mutex_t lock; /* of the list */
	struct connection *first;
	size_t count;
};

struct connection {
	struct connections *owner;
	struct connection *next, **link;
	int fd;
	bool local;
	uid_t uid;
	uint8_t address[GUESS_ADDRESS_SIZE];
	struct handshake *handshake; /* owned */
	/* Changed by its thread, and looked at by the sweep. */
	_Atomic(enum connection_state) state;
	_Atomic(uint64_t) since_us;
};

struct connections *connections_new(void)
{
	struct connections *cs = calloc(1, sizeof(*cs));

	if (cs)
		pthread_mutex_init(&cs->lock, NULL);
	return cs;
}

struct connections *connections_free(struct connections *cs)
{
	if (!cs)
		return NULL;
	pthread_mutex_destroy(&cs->lock);
	free(cs);
	return NULL;
}

static bool is_one_too_many(const struct connections *cs, uid_t uid, size_t max)
{
	size_t count = 0;

	for (const struct connection *c = cs->first; c; c = c->next)
		count += c->local && c->uid == uid;
	return count >= max;
}

static bool find_uid(struct connection *c)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return false;
	c->uid = credentials.uid;
	return true;
}

struct connection *connection_open(struct connections *cs, int fd, bool local, size_t user_max)
{
	struct connection *c = calloc(1, sizeof(*c));
	bool refused;

	if (!c) {
		shutdown(fd, SHUT_RDWR);
		return NULL;
	}
	*c = (struct connection){.owner = cs, .fd = fd, .local = local, .uid = (uid_t)-1};
	connection_set(c, CONNECTION_NEW);
	guess_address(fd, c->address);
	refused = local && !find_uid(c);
	pthread_mutex_lock(&cs->lock);
	refused = refused || (local && is_one_too_many(cs, c->uid, user_max));
	if (!refused) {
		c->next = cs->first;
		c->link = &cs->first;
		if (c->next)
			c->next->link = &c->next;
		cs->first = c;
		cs->count++;
	}
	pthread_mutex_unlock(&cs->lock);
	if (!refused)
		return c;
	shutdown(fd, SHUT_RDWR);
	free(c);
	return NULL;
}

void connection_take_handshake(struct connection *c, struct handshake *handshake)
{
	c->handshake = handshake;
}

void connection_close(struct connection *c)
{
	struct connections *cs;

	if (!c)
		return;
	cs = c->owner;
	pthread_mutex_lock(&cs->lock);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	cs->count--;
	pthread_mutex_unlock(&cs->lock);
	handshake_free(c->handshake);
	free(c);
}

void connection_set(struct connection *c, enum connection_state state)
{
	c->since_us = clock_now_us();
	c->state = state;
}

bool connection_is_local(const struct connection *c)
{
	return c->local;
}

uid_t connection_uid(const struct connection *c)
{
	return c->uid;
}

const uint8_t *connection_address(const struct connection *c)
{
	return c->address;
}

/* For how long it may be as it is; 0: as long as it likes. */
static uint64_t time_of(enum connection_state state, uint64_t request_time, uint64_t idle_time)
{
	switch (state) {
	case CONNECTION_NEW:
	case CONNECTION_RECEIVING:
	case CONNECTION_SENDING:
		return request_time;
	case CONNECTION_IDLE:
		return idle_time;
	case CONNECTION_WORKING:
	case CONNECTION_STREAM:
		break;
	}
	return 0;
}

void connections_sweep(struct connections *cs, uint64_t request_time, uint64_t idle_time)
{
	uint64_t now = clock_now_us();

	pthread_mutex_lock(&cs->lock);
	if (cs->count > CROWD)
		idle_time = MIN_OF(idle_time, CROWD_IDLE_US);
	for (struct connection *c = cs->first; c; c = c->next) {
		uint64_t since = c->since_us, time = time_of(c->state, request_time, idle_time);

		/* Its thread sees the end, and closes it. */
		if (time > 0 && now > since && now - since > time)
			shutdown(c->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&cs->lock);
}

void connections_count(struct connections *cs, size_t *ret_all, size_t *ret_busy)
{
	*ret_busy = 0;
	pthread_mutex_lock(&cs->lock);
	*ret_all = cs->count;
	for (const struct connection *c = cs->first; c; c = c->next)
		*ret_busy += c->state == CONNECTION_WORKING || c->state == CONNECTION_SENDING;
	pthread_mutex_unlock(&cs->lock);
}
