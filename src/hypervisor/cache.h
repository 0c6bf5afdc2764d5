/* The fetched images that a node has: those that were not used for the longest time go when there
 * are too many, never one that is in use, pinned or staged. Images that have a tag in the machine's
 * store are its administrator's, and are not counted. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "hypervisor/admission.h"
#include "hypervisor/worker.h"
#include "image/store.h"

struct cache;

/* A fetched image, for the choice of those that go. */
struct cache_item {
	char digest[DIGEST_HEX_SIZE];
	uint64_t bytes;   /* that come back with it */
	uint64_t used_us; /* the last time, since the epoch */
	bool held;        /* in use, pinned, staged, or on its way */
	bool dead;        /* nobody may start from it any more */
	bool replaced;    /* no tag stands for it any more */
	bool goes;        /* the choice */
};

/* Chooses which go: all that are dead, those that were replaced and not used for an hour, and,
 * where `used` bytes are more than `high`, others by their last use until it is `low`. Returns how
 * many. */
size_t cache_choose(struct cache_item *items, size_t count, uint64_t used, uint64_t high,
	uint64_t low, uint64_t now_us);

struct cache_events {
	bool (*is_used)(const char *digest, void *userdata);   /* by a VM */
	bool (*is_wanted)(const char *digest, void *userdata); /* it is on its way */
	void (*changed)(void *userdata); /* it is known now which images are here, or others are */
	void *userdata;
};

/* `worker` is for long work, and `store` is its alone; the store is in `state`. */
int cache_new(sd_event *event, const struct settings *settings, const char *state,
	struct worker *worker, struct store *store, struct admission *admission,
	const struct cache_events *events, struct cache **ret, struct error *err);
/* The worker has ended. */
struct cache *cache_free(struct cache *c);
DEFINE_CLEANUP(struct cache *, cache_free)

/* Looks what is here, and lets go what has to; `need_bytes` more are about to come. */
void cache_sweep(struct cache *c, uint64_t need_bytes);

/* Is it about to go? Who wants it waits until it has gone. */
bool cache_is_removing(const struct cache *c, const char *digest);
bool cache_has(const struct cache *c, const char *digest);
void cache_note_use(struct cache *c, const char *digest);

/* Is it known which images are here? */
bool cache_is_ready(const struct cache *c);

/* A new list of what is given to others: {"digest","blobs"}. */
json_t *cache_serve_to_json(const struct cache *c);

/* Opens a part of one of those for reading, with its index. Returns 0 or -ENOENT. */
int cache_open_part(const struct cache *c, const char *blob, int *ret_fd, int *ret_index_fd);

/* A new list of blobs of images that the node has of its own, with a tag, and not by a catalogue:
 * what is in them is not fetched again. */
json_t *cache_own_to_json(const struct cache *c);

/* Opens one of those for reading, if everybody may. Returns the descriptor or -ENOENT. */
int cache_open_own(const struct cache *c, const char *blob);

/* A new list for `wnodes node show`. */
json_t *cache_to_json(const struct cache *c);
uint64_t cache_bytes(const struct cache *c);
