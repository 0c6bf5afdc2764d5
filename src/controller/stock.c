#include "controller/stock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>

#include "controller/caller.h"
#include "depot/offer.h"

/* Images that nodes fetch at the same time are few, each of a disk, a kernel and an initrd. An
 * index of 1.5 GiB takes 1.3 MiB here, the largest that there may be 90 MiB. */
#define STOCKS_MAX       256
#define MEMORY_MAX       (UINT64_C(256) << 20)
#define MEMORY_PER_CHUNK (sizeof(struct caibx_chunk) + sizeof(uint32_t) + sizeof(uint16_t))

/* A node asks a source twice at a time at most (depot/swarm.c). */
#define EACH_MAX 2

struct stock {
	struct stocks *owner;
	struct stock *next; /* the one that was asked about before this one */
	uint8_t digest[CHUNK_ID_SIZE];
	struct caibx *index;
	uint64_t memory;
	size_t references;    /* with the owner's lock; one is the list's */
	pthread_mutex_t lock; /* of what follows */
	struct offer *offer;
};

struct slot {
	bool taken;
	char node[CALLER_NAME_MAX];
};

struct stocks {
	pthread_mutex_t lock;
	struct stock *first; /* the one that was asked about last */
	struct slot *slots;
	struct stocks_usage usage;
};

struct stocks *stocks_new(size_t slots)
{
	struct stocks *ss = calloc(1, sizeof(*ss));

	if (!ss)
		return NULL;
	pthread_mutex_init(&ss->lock, NULL);
	ss->usage.slots = slots;
	ss->slots = calloc(slots + 1, sizeof(*ss->slots));
	return ss->slots ? ss : stocks_free(ss);
}

static void destroy(struct stock *s)
{
	offer_free(s->offer);
	caibx_free(s->index);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct stocks *stocks_free(struct stocks *ss)
{
	if (!ss)
		return NULL;
	while (ss->first) {
		struct stock *s = ss->first;

		ss->first = s->next;
		destroy(s);
	}
	pthread_mutex_destroy(&ss->lock);
	free(ss->slots);
	free(ss);
	return NULL;
}

/* With the lock. */
static int find_slot(const struct stocks *ss, const char *node)
{
	size_t own = 0;
	int free_one = -EBUSY;

	for (size_t i = 0; i < ss->usage.slots; i++)
		if (!ss->slots[i].taken)
			free_one = (int)i;
		else if (streq(ss->slots[i].node, node))
			own++;
	return own < EACH_MAX ? free_one : -EBUSY;
}

int stocks_take_slot(struct stocks *ss, const char *node)
{
	int slot;

	pthread_mutex_lock(&ss->lock);
	slot = ss->usage.taken < ss->usage.slots ? find_slot(ss, node) : -EBUSY;
	if (slot >= 0) {
		ss->usage.taken++;
		ss->slots[slot].taken = true;
		snprintf(ss->slots[slot].node, sizeof(ss->slots[slot].node), "%s", node);
	}
	pthread_mutex_unlock(&ss->lock);
	return slot;
}

void stocks_give_back_slot(struct stocks *ss, int slot)
{
	pthread_mutex_lock(&ss->lock);
	ss->slots[slot].taken = false;
	ss->usage.taken--;
	pthread_mutex_unlock(&ss->lock);
}

/* With the lock. Returns a reference to it, and it is the first from now on; or NULL. */
static struct stock *find(struct stocks *ss, const uint8_t digest[CHUNK_ID_SIZE])
{
	for (struct stock **link = &ss->first; *link; link = &(*link)->next) {
		struct stock *s = *link;

		if (memcmp(s->digest, digest, CHUNK_ID_SIZE) != 0)
			continue;
		*link = s->next;
		s->next = ss->first;
		ss->first = s;
		s->references++;
		return s;
	}
	return NULL;
}

struct stock *stocks_find(struct stocks *ss, const uint8_t digest[CHUNK_ID_SIZE])
{
	struct stock *s;

	pthread_mutex_lock(&ss->lock);
	s = find(ss, digest);
	pthread_mutex_unlock(&ss->lock);
	return s;
}

/* All is there, and nothing of it was given. */
static struct offer *make_offer(const struct caibx *index)
{
	autofree uint32_t *sizes = calloc(index->count + 1, sizeof(*sizes));
	struct offer *offer;
	uint64_t seed = 0;

	if (!sizes)
		return NULL;
	if (getrandom(&seed, sizeof(seed), 0) < 0)
		seed = 1;
	for (size_t i = 0; i < index->count; i++)
		sizes[i] = index->chunks[i].size;
	offer = offer_new(sizes, index->count, seed);
	for (uint32_t i = 0; offer && i < index->count; i++)
		offer_add(offer, i, false);
	return offer;
}

/* Takes the index, also where it fails. */
static struct stock *stock_new(
	struct stocks *ss, const uint8_t digest[CHUNK_ID_SIZE], struct caibx *index)
{
	struct stock *s = calloc(1, sizeof(*s));

	if (!s) {
		caibx_free(index);
		return NULL;
	}
	*s = (struct stock){.owner = ss, .index = index, .references = 2};
	pthread_mutex_init(&s->lock, NULL);
	memcpy(s->digest, digest, CHUNK_ID_SIZE);
	s->memory = sizeof(*s) + index->count * MEMORY_PER_CHUNK;
	s->offer = make_offer(index);
	if (s->offer)
		return s;
	destroy(s);
	return NULL;
}

/* With the lock: takes the last one away. Returns it if nobody uses it, else NULL. */
static struct stock *remove_last(struct stocks *ss)
{
	struct stock **link = &ss->first, *last;

	while ((*link)->next)
		link = &(*link)->next;
	last = *link;
	*link = NULL;
	ss->usage.stocks--;
	ss->usage.memory -= last->memory;
	return --last->references == 0 ? last : NULL;
}

/* With the lock. Returns those that are to be destroyed. */
static struct stock *make_room(struct stocks *ss, uint64_t memory)
{
	struct stock *gone = NULL;

	while (ss->first &&
		(ss->usage.stocks >= STOCKS_MAX || ss->usage.memory + memory > MEMORY_MAX)) {
		struct stock *last = remove_last(ss);

		if (!last)
			continue;
		last->next = gone;
		gone = last;
	}
	return gone;
}

struct stock *stocks_add(
	struct stocks *ss, const uint8_t digest[CHUNK_ID_SIZE], struct caibx *index)
{
	struct stock *s = stock_new(ss, digest, index), *gone, *there;

	if (!s)
		return NULL;
	pthread_mutex_lock(&ss->lock);
	there = find(ss, digest);
	gone = there ? s : make_room(ss, s->memory);
	if (!there) {
		s->next = ss->first;
		ss->first = s;
		ss->usage.stocks++;
		ss->usage.memory += s->memory;
		there = s;
	}
	pthread_mutex_unlock(&ss->lock);
	while (gone) {
		struct stock *next = gone->next;

		destroy(gone);
		gone = next;
	}
	return there;
}

struct stock *stock_unref(struct stock *s)
{
	bool last;

	if (!s)
		return NULL;
	pthread_mutex_lock(&s->owner->lock);
	last = --s->references == 0;
	pthread_mutex_unlock(&s->owner->lock);
	if (last)
		destroy(s);
	return NULL;
}

const struct caibx *stock_index(const struct stock *s)
{
	return s->index;
}

size_t stock_pick(struct stock *s, const struct pick *pick, uint32_t *ret, size_t max)
{
	size_t count;

	pthread_mutex_lock(&s->lock);
	count = offer_pick(s->offer, pick, ret, max);
	pthread_mutex_unlock(&s->lock);
	return count;
}

void stocks_note_sent(struct stocks *ss, uint64_t bytes)
{
	pthread_mutex_lock(&ss->lock);
	ss->usage.sent += bytes;
	pthread_mutex_unlock(&ss->lock);
}

void stocks_get_usage(struct stocks *ss, struct stocks_usage *ret)
{
	pthread_mutex_lock(&ss->lock);
	*ret = ss->usage;
	pthread_mutex_unlock(&ss->lock);
}
