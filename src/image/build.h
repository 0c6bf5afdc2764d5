/* Images of Debian, made on this machine. */
#pragma once

#include <signal.h>

#include "image/recipe.h"
#include "image/store.h"

struct build_request {
	const char *name, *tag;
	const struct recipe *recipe; /* kept with the image */
	const char *origin;          /* for people: how this one is made */

	void (*on_step)(const char *what, void *userdata); /* before each step; may be NULL */
	/* Is the image good? Called before it gets its name; NULL: nobody is asked. What it returns
	 * below 0 ends the build. */
	int (*approve)(
		struct store *s, const struct manifest *m, void *userdata, struct error *err);
	void *userdata;
	const volatile sig_atomic_t *cancel; /* not zero: stop and clean up; may be NULL */
};

/* Builds an image and adds it to the store as NAME:TAG. Returns 0 and its digest, or negative errno
 * (-ECANCELED). When a program failed, its log is kept and named in the message. */
int build_debian(struct store *s, const struct build_request *request,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err);
