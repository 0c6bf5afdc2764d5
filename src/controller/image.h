/* The images that the site knows: each is its manifest's digest, has a state, and is never
 * forgotten. Which change of it there may be is in image_state.c, what names stand for it in
 * image_tag.c, all that has become of it in image_history.c, what nodes are told in catalogue.c. */
#pragma once

#include "controller/route.h"
#include "lib/digest.h"

#define IMAGE_WORD_MAX   65 /* bytes of a name or a tag, with NUL */
#define IMAGE_REASON_MAX 512

/* What a node takes of a catalogue, in 24 MiB (hypervisor/catalogue.h): images that have not ended,
 * some 1 KiB each and at most twice that, and digests of all others. No site that is known has a
 * tenth of it. */
#define IMAGE_LIVE_MAX 4000
#define IMAGE_MAX      50000

/* Finds an image that the caller may see. Returns 0 with a new object of the listing's and its
 * revision, the state being what it is at this moment; or the status with the error said. */
int image_find(
	struct exchange *x, struct sql *db, const char *digest, json_t **ret, int64_t *revision);

/* Answers with it as it is now. `status` is that of success. */
int image_answer(struct exchange *x, struct sql *db, int status, const char *digest);

/* May the caller see this image of the listing's: one for all, or its own? */
bool image_is_visible(const struct caller *c, json_t *image);

/* Those whose time has passed become expired, some at a time. In a write transaction. Returns how
 * many, or negative errno. */
#define IMAGE_EXPIRE_MAX 100
int image_expire_due(struct sql *db, uint64_t now_us, struct error *err);

extern const struct listing image_listing;
extern const struct route image_routes[];
extern const struct route image_state_routes[];
