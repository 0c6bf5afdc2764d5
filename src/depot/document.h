/* Small whole files of origins, indexes and manifests: of the first origin that has the right one.
 */
#pragma once

#include "depot/origin.h"

struct document {
	const char *path;
	size_t max;           /* bytes */
	uint32_t timeout_ms;  /* for one answer */
	uint64_t patience_us; /* for which nothing may come */
	uint32_t skip;        /* a bit for each origin that is not asked */

	/* Is it the right one? Returns 0, or negative errno with the reason. */
	int (*check)(const struct buffer *bytes, void *userdata, struct error *err);
	void *userdata;
};

/* Returns 0 with the bytes (for buffer_done()) and the number of the origin, or -ENODATA with what
 * each origin has said. */
int document_get(const struct document *d, struct origins *origins, struct http *http,
	struct buffer *ret, size_t *ret_origin, struct error *err);
