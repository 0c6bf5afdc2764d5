/* The parts of a haul that its files share: haul.c has its course, haul_source.c whom it asks,
 * haul_trip.c requests for chunks, haul_quest.c those for a whole small file. */
#pragma once

#include "image/manifest.h"
#include "porter/cargo.h"
#include "porter/haul.h"
#include "porter/syncer.h"

#define SECOND UINT64_C(1000000)

#define ORIGINS_MAX 32 /* of settings; others are not looked at */

/* Whom we can ask; its place in the array is its number in the swarm. */
struct source {
	bool used, listed;
	bool origin;   /* else a node */
	bool outsider; /* an origin that is not known to the site's authority */
	char node[65], url[256];
	struct folder *folder; /* an origin that is a directory, `url` */
};

/* A request for chunks; its place in the array is its number in the swarm. */
struct trip {
	struct haul *haul;
	struct errand *errand; /* NULL: none is under way */
	struct cargo *cargo;
	size_t number, source;
	bool web, bad;
	uint32_t chunk; /* that it is about, or was about when it turned out to be bad */
	struct buffer question, bytes;
	struct pick pick;
	struct pick_reader reader;
	char reason[256];
};

/* A file that is the same at each source: it is asked of one after the other until one has it. */
struct quest {
	struct haul *haul;
	struct errand *errand;
	struct cargo *cargo; /* whose index; NULL: the manifest */
	char path[128];
	uint64_t max;
	size_t source, tries;
	struct buffer bytes;
	uint64_t next_us, heard_us;
	bool done;
};

struct haul {
	struct porter *porter;
	char digest[DIGEST_HEX_SIZE];
	struct cargo cargos[MANIFEST_PARTS_MAX];
	size_t count;
	struct quest manifest, indexes[MANIFEST_PARTS_MAX];
	struct swarm *swarm;
	struct source sources[SWARM_SOURCES_MAX];
	bool settled[ORIGINS_MAX]; /* origins that are sources, or cannot be */
	struct trip trips[SWARM_REQUESTS_MAX];
	struct syncer *syncer;
	uint64_t from_peers, from_origin, heard_us;
	uint64_t rate_bytes, rate_us; /* when the rate was told last, and what had come by then */
	struct error failure;         /* this machine's: the haul ends */
	char reason[256];             /* why somebody has not given something */
};

/* Those that are not yet: a directory is one when the daemon has opened it. Returns 0 or negative
 * errno: the daemon has ended. */
int haul_add_origins(struct haul *h, struct error *err);
void haul_remove_sources(struct haul *h);
void haul_address(const struct haul *h, size_t source, struct errand_address *ret);

/* Is never asked again, and reported. */
void haul_ban(struct haul *h, size_t source, const char *chunk, const char *reason);

/* An origin that cannot be verified as one of the site's is asked as anybody's. */
bool haul_take_outsider(struct haul *h, size_t source, const char *why);

void haul_start_trips(struct haul *h, uint64_t now_us, uint64_t *wait_us);
void haul_end_stalled(struct haul *h, uint64_t now_us);
void trip_drop(struct trip *t);

void quest_work(struct quest *q, uint64_t now_us);
void quest_done(struct quest *q);
