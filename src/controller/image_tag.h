/* What names stand for: "NAME:TAG" for the site's, "USER/NAME:TAG" for a user's private images. */
#pragma once

#include "controller/route.h"

/* Is it a name and a tag as a store has them? Returns 0, or 400 with the error said. */
int image_tag_check(struct exchange *x, const char *name, const char *tag);

/* Has a tag, of the site or (`private`) of the caller, stand for this image, and writes it down. In
 * a write transaction. Returns 1, 0 if it does already, or negative errno. */
int image_tag_set(struct exchange *x, struct sql *db, const char *name, const char *tag,
	const char *digest, bool private, const char *reason, struct error *err);

extern const struct listing image_tag_listing;
extern const struct route image_tag_routes[];
