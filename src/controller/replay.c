/* Two sets: keys go into the newer one. When the newer one is as old as keys have to be kept, the
 * older one is forgotten as a whole. */
#include "controller/replay.h"

#include <errno.h>
#include <pthread.h>

#define ROOM_MIN 1024

/* Open addressing; a key of zeros is an empty place. */
struct set {
	uint8_t (*keys)[REPLAY_KEY_SIZE];
	size_t room, count; /* a power of two; never more than half full */
};

struct replay {
	pthread_mutex_t lock;
	uint64_t keep_us, begun_us; /* the latter of the newer set */
	struct set newer, older;
};

static const uint8_t empty[REPLAY_KEY_SIZE];

struct replay *replay_new(uint64_t keep_us)
{
	struct replay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	pthread_mutex_init(&r->lock, NULL);
	r->keep_us = keep_us;
	return r;
}

struct replay *replay_free(struct replay *r)
{
	if (!r)
		return NULL;
	pthread_mutex_destroy(&r->lock);
	free(r->newer.keys);
	free(r->older.keys);
	free(r);
	return NULL;
}

/* Where the key is, or would be. */
static uint8_t *set_find(const struct set *s, const uint8_t *key)
{
	size_t i;

	memcpy(&i, key, sizeof(i));
	for (i &= s->room - 1; memcmp(s->keys[i], empty, REPLAY_KEY_SIZE) != 0;
		i = (i + 1) & (s->room - 1))
		if (memcmp(s->keys[i], key, REPLAY_KEY_SIZE) == 0)
			break;
	return s->keys[i];
}

static bool set_has(const struct set *s, const uint8_t *key)
{
	return s->room > 0 && memcmp(set_find(s, key), key, REPLAY_KEY_SIZE) == 0;
}

static int set_grow(struct set *s)
{
	struct set larger = {.room = s->room ? 2 * s->room : ROOM_MIN, .count = s->count};

	larger.keys = calloc(larger.room, sizeof(*larger.keys));
	if (!larger.keys)
		return -ENOMEM;
	for (size_t i = 0; i < s->room; i++)
		if (memcmp(s->keys[i], empty, REPLAY_KEY_SIZE) != 0)
			memcpy(set_find(&larger, s->keys[i]), s->keys[i], REPLAY_KEY_SIZE);
	free(s->keys);
	*s = larger;
	return 0;
}

static int set_add(struct set *s, const uint8_t *key)
{
	if (s->count >= REPLAY_MAX)
		return -ENOSPC;
	if (2 * s->count >= s->room && set_grow(s) < 0)
		return -ENOMEM;
	memcpy(set_find(s, key), key, REPLAY_KEY_SIZE);
	s->count++;
	return 0;
}

static void forget(struct replay *r, uint64_t now_us)
{
	if (now_us < r->begun_us + r->keep_us && r->begun_us != 0)
		return;
	free(r->older.keys);
	r->older = r->newer;
	r->newer = (struct set){0};
	r->begun_us = now_us;
}

int replay_add(struct replay *r, const uint8_t key[REPLAY_KEY_SIZE], uint64_t now_us)
{
	int result;

	pthread_mutex_lock(&r->lock);
	forget(r, now_us);
	if (set_has(&r->newer, key) || set_has(&r->older, key))
		result = -EEXIST;
	else
		result = set_add(&r->newer, key);
	pthread_mutex_unlock(&r->lock);
	return result;
}
