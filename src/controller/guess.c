#include "controller/guess.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "lib/clock.h"

/* Of addresses that fall into the same set, those with the fewest failures are forgotten. */
#define SETS      1024
#define WAYS      4
#define MINUTE_US UINT64_C(60000000)

/* `owed` is what the failures have cost; a minute's time pays for `max` of them. */
struct slot {
	uint8_t address[GUESS_ADDRESS_SIZE];
	uint64_t owed_us, then_us;
};

struct guesses {
	pthread_mutex_t lock;
	uint64_t seed; /* so that nobody can choose whom he pushes out */
	struct slot slots[SETS][WAYS];
};

struct guesses *guesses_new(void)
{
	struct guesses *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	pthread_mutex_init(&g->lock, NULL);
	if (getrandom(&g->seed, sizeof(g->seed), GRND_NONBLOCK) < 0)
		g->seed = clock_now_us();
	return g;
}

struct guesses *guesses_free(struct guesses *g)
{
	if (!g)
		return NULL;
	pthread_mutex_destroy(&g->lock);
	free(g);
	return NULL;
}

void guess_address(int fd, uint8_t ret[GUESS_ADDRESS_SIZE])
{
	struct sockaddr_storage peer = {0};
	const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)&peer;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&peer;
	socklen_t size = sizeof(peer);
	struct ucred user = {0};

	memset(ret, 0, GUESS_ADDRESS_SIZE);
	if (getpeername(fd, (struct sockaddr *)(void *)&peer, &size) < 0)
		return;
	if (peer.ss_family == AF_INET) {
		memcpy(ret + 4, &four->sin_addr, 4);
	} else if (peer.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		memcpy(ret + 4, &six->sin6_addr.s6_addr[12], 4);
	} else if (peer.ss_family == AF_INET6) {
		memcpy(ret, &six->sin6_addr, 8);
	} else {
		size = sizeof(user);
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &size);
		ret[0] = 0xff; /* addresses of many, which nobody has */
		memcpy(ret + 4, &user.uid, 4);
	}
}

/* With the lock: its set. */
static struct slot *find_set(struct guesses *g, const uint8_t *address)
{
	uint64_t hash = g->seed ^ UINT64_C(14695981039346656037); /* FNV-1a */

	for (int i = 0; i < GUESS_ADDRESS_SIZE; i++)
		hash = (hash ^ address[i]) * UINT64_C(1099511628211);
	return g->slots[(hash >> 32) % SETS];
}

static uint64_t owed_us(const struct slot *s, uint64_t now)
{
	uint64_t paid = now - MIN_OF(s->then_us, now);

	return s->owed_us - MIN_OF(paid, s->owed_us);
}

/* With the lock: the address's own; with `add` it takes the place of another. */
static struct slot *find(struct guesses *g, const uint8_t *address, bool add)
{
	struct slot *set = find_set(g, address), *least = set;
	uint64_t now = clock_now_us();

	for (int i = 0; i < WAYS; i++) {
		if (set[i].then_us > 0 && memcmp(set[i].address, address, GUESS_ADDRESS_SIZE) == 0)
			return &set[i];
		if (owed_us(&set[i], now) < owed_us(least, now))
			least = &set[i];
	}
	if (!add)
		return NULL;
	*least = (struct slot){.then_us = now};
	memcpy(least->address, address, GUESS_ADDRESS_SIZE);
	return least;
}

void guesses_add(struct guesses *g, const uint8_t address[], uint64_t max)
{
	uint64_t now = clock_now_us();
	struct slot *s;

	if (max == 0)
		return;
	pthread_mutex_lock(&g->lock);
	s = find(g, address, true);
	s->owed_us = MIN_OF(owed_us(s, now) + MINUTE_US / max, 2 * MINUTE_US);
	s->then_us = now;
	pthread_mutex_unlock(&g->lock);
}

int guesses_wait_s(struct guesses *g, const uint8_t address[], uint64_t max)
{
	uint64_t most = max ? MINUTE_US - MINUTE_US / max : 0, owed;
	const struct slot *s;

	if (max == 0)
		return 0;
	pthread_mutex_lock(&g->lock);
	s = find(g, address, false);
	owed = s ? owed_us(s, clock_now_us()) : 0;
	pthread_mutex_unlock(&g->lock);
	return owed <= most ? 0 : (int)((owed - most) / 1000000) + 1;
}
