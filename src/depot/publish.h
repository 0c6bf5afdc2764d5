/* Publishing: an image of a store becomes one of a depot. */
#pragma once

#include "depot/release.h"
#include "image/store.h"

struct publish_request {
	struct store *store;
	struct depot *depot;
	const struct image *image;
	unsigned threads; /* 0: one for each CPU */
	/* Called when another step begins, with what is done; may be NULL. */
	void (*on_step)(const char *what, void *userdata);
	/* Called with the bytes that are done of all `total` ones; may be NULL. */
	void (*on_bytes)(uint64_t done, uint64_t total, void *userdata);
	void *userdata;
};

struct publish_result {
	struct release *release;
	uint64_t bytes;                     /* of the image's files */
	uint64_t chunks, new_chunks;        /* of those that were looked at: with all */
	uint64_t new_bytes, new_file_bytes; /* of the new chunks, and as they are stored */
};

void publish_done(struct publish_result *result);

/* Publishes the image; what the depot has already is not made again, so that after any failure the
 * next call goes on. The image is seen by others when all of it is there and on the disk. Returns 0
 * and the result for publish_done(), -EBADMSG where the image is damaged, or negative errno
 * (-ENOSPC). */
int publish_image(
	const struct publish_request *request, struct publish_result *ret, struct error *err);
