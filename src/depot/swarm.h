/* Which chunks a node asks of whom while it fetches an image: pure decisions, without I/O, with the
 * time as an argument, so that a simulation of thousands of nodes makes the very same ones.
 *
 * Sources are peers and origins. One that can pick (depot/pick.h) is asked what it gives of all
 * that is lacking and that nobody has promised yet; a web server is asked for one chunk. What an
 * answer's head promises is not asked of others, unless the answer is late: when there is nothing
 * else to ask for, and it has taken twice as long as answers usually do, somebody else is asked as
 * well. Who is silent for SWARM_STALL_US is taken for dead, who sent something bad is never asked
 * again, who is busy or has nothing is asked again after a pause that grows. */
#pragma once

#include "depot/pick.h"

#define SWARM_SOURCES_MAX  64
#define SWARM_REQUESTS_MAX 32
#define SWARM_PARTS_MAX    16

/* Nothing was heard of an answer for so long: with the connecting, and the time that it takes to
 * ask somebody else, a dead source costs less than two seconds. */
#define SWARM_STALL_US UINT64_C(1500000)

struct swarm;

enum swarm_kind {
	SWARM_PEER,
	SWARM_ORIGIN, /* has all, and picks */
	SWARM_WEB,    /* has all: a web server */
};

enum swarm_end {
	SWARM_DONE,    /* the answer is whole */
	SWARM_NOTHING, /* it has nothing of what was asked for */
	SWARM_BUSY,    /* its slots are taken */
	SWARM_FAILED,  /* it was not reached, has ended, or is silent */
	SWARM_BAD,     /* it has sent what is not what it should be */
};

/* A request that is to be sent. */
struct swarm_ask {
	size_t request, source, part;
	enum swarm_kind kind;
	uint32_t chunk;   /* of SWARM_WEB */
	struct pick pick; /* of others, but for the index; its bits are valid until the next call */
};

/* At most `requests` at a time (SWARM_REQUESTS_MAX). NULL when out of memory. */
struct swarm *swarm_new(size_t requests, uint64_t seed);
struct swarm *swarm_free(struct swarm *s);
DEFINE_CLEANUP(struct swarm *, swarm_free)

/* Adds a file, whose chunks have these sizes. Returns its number, or -ENOMEM, -E2BIG. */
int swarm_add_part(struct swarm *s, const uint32_t *sizes, size_t count);

/* This chunk is there, wherever from. */
void swarm_have(struct swarm *s, size_t part, uint32_t chunk);
bool swarm_is_complete(const struct swarm *s);

/* Returns the source's number, or -E2BIG. */
int swarm_add_source(struct swarm *s, enum swarm_kind kind);

/* It is not asked any more. Its number is free when its requests have ended. */
void swarm_remove_source(struct swarm *s, size_t source);

/* An origin that does not pick is a web server. */
void swarm_set_kind(struct swarm *s, size_t source, enum swarm_kind kind);

/* The next request, if there is one for now: it counts as sent. Else *ret_wait_us says after how
 * long something may have changed by itself. */
bool swarm_next(struct swarm *s, uint64_t now_us, struct swarm_ask *ret, uint64_t *ret_wait_us);

/* An answer's head promises this chunk. */
void swarm_promise(struct swarm *s, size_t request, uint32_t chunk);

/* Bytes of an answer have come. */
void swarm_hear(struct swarm *s, size_t request, uint64_t bytes, uint64_t now_us);
void swarm_end(struct swarm *s, size_t request, enum swarm_end how, uint64_t now_us);

/* A request of which nothing was heard for too long, to be ended: its number, or -ENOENT. */
int swarm_find_stalled(const struct swarm *s, uint64_t now_us);

/* Requests that are under way, of a source or (SIZE_MAX) of all. */
size_t swarm_count_requests(const struct swarm *s, size_t source);
