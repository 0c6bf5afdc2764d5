/* The images of a subscription in the user's own store: a tag each, which nobody else's image has.
 */
#pragma once

#include "image/store.h"
#include "imagelist/list.h"
#include "imagelist/subscription.h"

struct imagelist_store {
	struct store *store;
	const char *partial; /* directory of downloads, which is made when it is needed */
};

/* Brings the image here as `reference` ("NAME:TAG"): one that is in the store already gets its tag
 * again, else it is downloaded, or its download is gone on with; then its size and SHA-512 are
 * checked. `known` (may be NULL) is what the subscription knows of it. Returns 0 and the digest
 * that it has in the store, or negative errno: -EBADMSG for another image than the list's, -EEXIST
 * where the reference is somebody else's. */
int imagelist_store_bring(const struct imagelist_store *s, const struct imagelist_image *image,
	const struct subscription_image *known, const char *reference,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err);

/* Has the image its tag, or gets it again without a download? Returns 1, 0 or negative errno. */
int imagelist_store_keep(
	const struct imagelist_store *s, const struct subscription_image *known, struct error *err);

/* Takes the tag away, if it is still this image's. Returns 0 or negative errno. */
int imagelist_store_drop(
	const struct imagelist_store *s, const struct subscription_image *known, struct error *err);

/* Removes downloads that are of no image of this list. */
void imagelist_store_sweep(const struct imagelist_store *s, const struct imagelist *list);
