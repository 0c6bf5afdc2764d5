/* Is all of a depot what it should be? Each file is read and compared with its name, and what an
 * image needs is looked for. Nothing is changed; somebody may publish or collect meanwhile. */
#pragma once

#include <signal.h>

#include "depot/depot.h"

enum depot_flaw {
	DEPOT_DAMAGED, /* it is not what its name says, or cannot be read */
	DEPOT_MISSING, /* an image needs it */
	DEPOT_FOREIGN, /* it is no file of a depot's; nobody looks at it */
};

struct depot_count {
	uint64_t manifests, indexes, chunks,
		bytes; /* that were read, and are right; of all files */
	uint64_t damaged, missing, foreign;
	uint64_t images; /* of which something is damaged or missing */
};

struct depot_verify_events {
	/* `path` is below the depot's directory. */
	void (*on_flaw)(enum depot_flaw flaw, const char *path, const char *why, void *userdata);
	/* An image that cannot be had from here, and how many of its files are the reason. */
	void (*on_image)(const char *digest, uint64_t flaws, void *userdata);
	void (*on_bytes)(uint64_t done, void *userdata);
	void *userdata;
	const volatile sig_atomic_t *cancel;
};

/* With `whole`, each part is put together from its chunks, too, and hashed: so an index that names
 * the wrong chunks is found, as whoever fetches finds it. Memory is that of a chunk and an index,
 * and 32 bytes for each flaw. Returns 0 and what was found, -ECANCELED, or another negative errno:
 * it could not be looked at. */
int depot_verify(const struct depot *d, bool whole, const struct depot_verify_events *events,
	struct depot_count *ret, struct error *err);
