/* Filling an assembly: each chunk that it lacks comes from where it costs least. What an earlier
 * fetch has left is verified; then other files of this machine are looked at, then directories,
 * then web servers, several requests at once. */
#pragma once

#include "depot/assembly.h"
#include "depot/crew.h"
#include "depot/inventory.h"
#include "depot/origin.h"

/* Bytes of chunks, by where they came from; zeros and chunks that occur again are in none. */
struct fill_counts {
	uint64_t resumed, reused, fetched; /* an earlier fetch, other files, origins (unpacked) */
};

struct fill {
	struct assembly *assembly;
	struct inventory *inventory;
	struct origins *origins;
	struct http *http;
	struct crew *crew;
	uint64_t patience_us; /* for how long nothing may come from an origin */

	/* About five times a second, from the calling thread; may be NULL. */
	void (*on_progress)(const struct fill *fill, void *userdata);
	void *userdata;

	struct fill_counts counts; /* set by fill_run() as it goes */
};

/* Fills it. Returns 0 when all is there; -ENODATA when a chunk is to be had nowhere, with the
 * reasons of all who were asked; or negative errno where this machine cannot go on (-ENOSPC). What
 * has come until then stays. */
int fill_run(struct fill *fill, struct error *err);
