/* All that has become of images: who, when, what and why, for ever. */
#pragma once

#include "controller/route.h"

/* One change. Texts are the caller's. */
struct image_change {
	const char *action; /* "published", "endorsed", ...: that of the event, too */
	const char *digest, *name;
	const char *reference; /* of a tag; NULL: it is not about one */
	const char *reason;
	const char *owner; /* of a private image, who alone may know of it; NULL: all may */
	const char *actor; /* NULL: the request's caller */
	json_t *detail;    /* what else is known, taken; NULL: nothing */
};

/* Writes a line of the history and an event, and the catalogue has a new revision. In a write
 * transaction. `x` gives the caller; NULL: `actor` is set. Returns 0 or negative errno. */
int image_history_add(const struct exchange *x, struct sql *db, uint64_t now_us,
	const struct image_change *change, struct error *err);

extern const struct listing image_history_listing;
extern const struct route image_history_routes[];
