/* What a user has asked for: an image, from where, and what it is to be called here. */
#pragma once

#include "depot/fetch.h"

struct errand {
	/* As given; NULL: not given. */
	const char *digest, *release_file, *name, *tag;
	const char *const *origins;
	uint64_t timeout_ms; /* 0: the default */
	bool json, verbose;
	/* By errand_open(). */
	struct store *store;
	struct release *release; /* NULL: there is none */
	const char *image;       /* digest */
	const char *image_name;
};

/* Reads the release, checks that all fits together, and opens the user's store. Returns 0 or
 * negative errno. */
int errand_open(struct errand *e, struct error *err);

/* Fetches the image and prints what has come. Returns 0 or negative errno. */
int errand_run(struct errand *e, struct error *err);

void errand_done(struct errand *e);
