/* One part of an image that is being fetched: its files, which the daemon has opened, its index,
 * and what of it is there. While it grows, others are given of it. */
#pragma once

#include "depot/assembly.h"
#include "depot/swarm.h"
#include "engine/daemon.h"
#include "porter/holding.h"

enum cargo_state {
	CARGO_NEW,
	CARGO_LACKS_INDEX,
	CARGO_LOCAL,    /* what is on this machine already is looked for */
	CARGO_FETCHING, /* the rest comes from others */
	CARGO_COMPLETE, /* verified, on the disk, and closed */
};

struct cargo {
	char blob[DIGEST_HEX_SIZE], index_digest[DIGEST_HEX_SIZE];
	uint64_t size;
	enum cargo_state state;
	int partial_fd, have_fd, index_fd;
	uint8_t index_id[CHUNK_ID_SIZE];
	const struct caibx *index; /* the holding's */
	struct assembly *assembly;
	struct holding *holding;
	size_t number;          /* in the swarm */
	size_t next;            /* chunk that is looked at next */
	uint64_t there, reused; /* bytes */
};

/* Zeroed but for the texts and the size. */
void cargo_init(struct cargo *c);
void cargo_done(struct cargo *c, struct holdings *holdings);

/* Asks the daemon for the files, and looks whether the index is there. Returns 0 or negative errno.
 */
int cargo_open(struct cargo *c, struct daemon *daemon, const char *image, struct holdings *holdings,
	struct error *err);

/* Takes an index that has come. Returns 0, -EBADMSG if it is not the one, or another negative
 * errno.
 */
int cargo_take_index(struct cargo *c, const void *bytes, size_t length, struct holdings *holdings,
	struct error *err);

/* Looks for what is here already, until `deadline_us` (clock_now_us()). Returns 1 when it is done,
 * 0 if there is more, or negative errno. */
int cargo_look(struct cargo *c, struct holdings *holdings, uint64_t deadline_us, struct error *err);

/* Adds it to the swarm, with what is there. Returns 0 or negative errno. */
int cargo_join(struct cargo *c, struct swarm *swarm, struct error *err);

/* Puts a chunk that has come, packed. Returns 0, -EBADMSG if it is not that chunk, or another
 * negative errno, which is this machine's. */
int cargo_put(struct cargo *c, struct swarm *swarm, uint32_t chunk, const void *packed,
	size_t length, bool common, struct error *err);

bool cargo_is_whole(const struct cargo *c);

/* All is there: brings it to the disk. Others get no more of it until the daemon lends it again.
 * Returns 0 or negative errno. */
int cargo_finish(struct cargo *c, struct holdings *holdings, struct error *err);
