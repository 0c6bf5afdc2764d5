/* What the files of fetch share. */
#pragma once

#include "depot/fetch.h"
#include "image/partial.h"

struct fetch_part {
	struct image_part part;
	const struct release_part *release; /* NULL: its index is not known */
	struct store_partial *partial;      /* NULL: it is in the store */
	struct buffer index;                /* bytes, to be kept with the blob */
};

struct fetch {
	const struct fetch_request *request;
	uint64_t patience_us;
	struct origins origins;
	struct http *http;
	struct crew *crew;
	struct inventory *inventory;
	struct buffer manifest_text;
	struct manifest *manifest;
	struct fetch_part parts[MANIFEST_PARTS_MAX];
	size_t part_count;
	uint64_t finished; /* bytes of parts that are done */
	struct fetch_result *result;
};

void fetch_step(const struct fetch *f, const char *what);

/* Fetches the manifest, which must have the image's digest, and fit the release. */
int fetch_manifest(struct fetch *f, struct error *err);

/* Lists what other files of the store have; what cannot be read is not in it. */
void fetch_take_inventory(struct fetch *f);

/* Fetches a part into its place. Returns 0 when it is whole and verified. */
int fetch_part_run(struct fetch *f, struct fetch_part *p, struct error *err);
