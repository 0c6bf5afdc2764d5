/* Images that others made, changed by a recipe: by libguestfs's virt-customize, which knows their
 * partitions, boot loaders and package managers, and needs no root. */
#pragma once

#include <signal.h>

#include "image/recipe.h"
#include "image/store.h"

#define CUSTOMIZE_PROGRAM "virt-customize"

struct customize_request {
	const struct image *image; /* of the store, imported */
	const struct recipe *recipe;
	const char *tag; /* that the result gets; the name stays */

	void (*on_step)(const char *what, void *userdata); /* before each step; may be NULL */
	void *userdata;
	const volatile sig_atomic_t *cancel;
};

/* Makes a changed copy of the image. Returns 0 and its digest, -ENOENT where virt-customize is not
 * installed, -EOPNOTSUPP for an image that was built, -EINVAL for a recipe that asks for what an
 * image has already, or another negative errno. When a program failed, its log is kept and named.
 */
int customize_image(struct store *s, const struct customize_request *request,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err);
