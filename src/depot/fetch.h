/* Fetching one image whole into a store, from depots: directories, or any web servers.
 *
 * What is trusted is what the caller has: the image's digest, and, where there is one, its release.
 * From the digest follows the manifest, from that the digests of the parts. With a release the
 * parts' indexes are known as well, so that each part is right when its chunks are; without one, an
 * index is only a proposal, and the whole part is hashed in the end. */
#pragma once

#include "depot/fill.h"
#include "depot/release.h"
#include "image/store.h"

struct fetch_progress {
	uint64_t done, total; /* bytes of the image, with zeros */
	uint64_t received;    /* bytes from origins, as packed */
};

struct fetch_request {
	struct store *store;           /* writable */
	const char *digest;            /* of the image */
	const struct release *release; /* of this image; NULL: none */
	const char *name, *tag;        /* that it gets here */
	const char *const *origins;    /* see origin.h; ends with NULL */
	struct http_options http;
	uint64_t patience_us; /* nothing comes for so long: it fails; 0: a minute */
	size_t threads;       /* 0: as many as there are processors, to a limit */

	void (*on_step)(const char *what, void *userdata); /* may be NULL */
	void (*on_progress)(const struct fetch_progress *progress, void *userdata);
	void *userdata;
};

struct fetch_source {
	char *origin; /* as it was given */
	uint64_t bytes, chunks;
};

struct fetch_result {
	uint64_t total;   /* bytes of all parts */
	uint64_t present; /* of parts that the store had */
	struct fill_counts counts;
	uint64_t received; /* from all origins, as packed */
	struct fetch_source sources[ORIGINS_MAX];
	size_t source_count;
};

/* Fetches it; an image is in the store when all of it is there, verified and on the disk, and not
 * before. Another process that fetches the same parts is waited for. After a failure what has come
 * stays, and the next call goes on. Returns 0 and the result for fetch_result_done(), -ENODATA
 * where the origins have not what is needed, -EBADMSG where they have something else, or negative
 * errno.
 */
int fetch_image(const struct fetch_request *request, struct fetch_result *ret, struct error *err);

void fetch_result_done(struct fetch_result *r);
