/* Looks whether the site's catalogue of images has changed, and brings the daemon the new one. It
 * has an interval of its own: an image that is revoked starts nowhere ten seconds later. */
#pragma once

#include "engine/daemon.h"
#include "site/site.h"

#define CATALOGUE_TAG_SIZE 128

struct catalogue_watch {
	uint64_t due_us;                /* clock_now_us() */
	char known[CATALOGUE_TAG_SIZE]; /* the ETag of the last one; "": none */
	bool refused;                   /* by the daemon, which was said */
	bool missing;                   /* the controller has none, which was said */
};

/* The daemon has this revision; NULL: none. */
void catalogue_watch_init(struct catalogue_watch *w, const char *revision);

/* Looks, and sets when to look again. One that is not answered, or that the daemon does not take,
 * is for the next time. Returns 0, or negative errno at the daemon's end. */
int catalogue_watch_run(
	struct catalogue_watch *w, struct daemon *daemon, struct site *site, struct error *err);
