#include "controller/roster.h"

#include <pthread.h>
#include <stdio.h>

#define FRESH_US UINT64_C(1000000)

/* Images that are fetched by many at the same time. */
#define SLOTS 16

struct rosters {
	pthread_mutex_t lock;
	struct roster *slots[SLOTS];
};

struct rosters *rosters_new(void)
{
	struct rosters *rs = calloc(1, sizeof(*rs));

	if (rs)
		pthread_mutex_init(&rs->lock, NULL);
	return rs;
}

struct rosters *rosters_free(struct rosters *rs)
{
	if (!rs)
		return NULL;
	for (size_t i = 0; i < SLOTS; i++)
		roster_unref(rs->slots[i]);
	pthread_mutex_destroy(&rs->lock);
	free(rs);
	return NULL;
}

struct roster *roster_new(const char *digest, uint64_t now_us)
{
	struct roster *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->references = 1;
	r->read_us = now_us;
	snprintf(r->digest, sizeof(r->digest), "%s", digest);
	r->nodes = calloc(ROSTER_MAX, sizeof(*r->nodes));
	return r->nodes ? r : roster_unref(r);
}

struct roster *roster_unref(struct roster *r)
{
	if (r && --r->references == 0) {
		free(r->nodes);
		free(r);
	}
	return NULL;
}

struct roster *rosters_find(struct rosters *rs, const char *digest, uint64_t now_us)
{
	struct roster *found = NULL;

	if (!rs)
		return NULL;
	pthread_mutex_lock(&rs->lock);
	for (size_t i = 0; i < SLOTS && !found; i++) {
		struct roster *r = rs->slots[i];

		if (!r || !streq(r->digest, digest) || now_us > r->read_us + FRESH_US)
			continue;
		r->references++;
		found = r;
	}
	pthread_mutex_unlock(&rs->lock);
	return found;
}

/* That of this image, else the oldest. */
static struct roster **find_slot(struct rosters *rs, const char *digest)
{
	struct roster **oldest = &rs->slots[0];

	for (size_t i = 0; i < SLOTS; i++) {
		struct roster **slot = &rs->slots[i];

		if (!*slot || streq((*slot)->digest, digest))
			return slot;
		if ((*slot)->read_us < (*oldest)->read_us)
			oldest = slot;
	}
	return oldest;
}

void rosters_add(struct rosters *rs, struct roster *r)
{
	struct roster **slot, *before;

	if (!rs)
		return;
	pthread_mutex_lock(&rs->lock);
	slot = find_slot(rs, r->digest);
	before = *slot;
	r->references++;
	*slot = r;
	pthread_mutex_unlock(&rs->lock);
	roster_unref(before);
}
