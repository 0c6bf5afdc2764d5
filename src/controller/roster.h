/* Which nodes have an image or some of it, as it was in the last second: while thousands of nodes
 * fetch one image, each asks every few seconds, and to find that out in the database for each of
 * them would take more than a processor. For all threads. */
#pragma once

#include "controller/caller.h"
#include "lib/digest.h"
#include "lib/error.h"
#include "sql/sql.h"

/* More are not needed: each node is named some of them, by chance. */
#define ROSTER_MAX 4000

struct roster_node {
	char name[CALLER_NAME_MAX], address[256], rack[CALLER_NAME_MAX];
	bool complete;
	int64_t done; /* per mille */
};

struct roster {
	char digest[DIGEST_HEX_SIZE];
	uint64_t read_us;
	struct roster_node *nodes;
	size_t count;
	_Atomic(size_t) references;
};

struct rosters;
struct rosters *rosters_new(void);
struct rosters *rosters_free(struct rosters *rs);
DEFINE_CLEANUP(struct rosters *, rosters_free)

/* A reference to one that is younger than a second, or NULL. `rs` may be NULL. */
struct roster *rosters_find(struct rosters *rs, const char *digest, uint64_t now_us);

/* Keeps it, for others. `rs` may be NULL. */
void rosters_add(struct rosters *rs, struct roster *r);

/* An empty one with room for ROSTER_MAX nodes, NULL when out of memory. */
struct roster *roster_new(const char *digest, uint64_t now_us);
struct roster *roster_unref(struct roster *r);
DEFINE_CLEANUP(struct roster *, roster_unref)
