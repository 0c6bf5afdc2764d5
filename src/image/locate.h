/* Which stores there are: the user's own, and below it the system's, which everybody may read. */
#pragma once

#include "image/store.h"

/* Finds an image in the user's store, else in the system's. Both results are the caller's; parts
 * are opened with store_open_part(*ret_store, ...). Returns 0, -ENOENT with the images that there
 * are, or another negative errno. */
int locate_image(const char *reference, struct store **ret_store, struct image **ret_image,
	struct error *err);

/* The same in the user's own store alone: -ENOENT where that is the system's. */
int locate_own_image(const char *reference, struct store **ret_store, struct image **ret_image,
	struct error *err);

/* For an image that is not in the user's own store: says so if it is in the system's, which only
 * root changes. Returns -EPERM with the reason, or `r` with `err` as it is. */
int locate_explain_missing(const char *reference, int r, struct error *err);

/* Opens the user's own store for changes, and makes it if need be. */
int locate_own_store(struct store **ret, struct error *err);

/* The directory of the system's store, where the node's daemon has all that it keeps. */
const char *locate_system_directory(void);

/* Calls store_list() on each store that there is; `each` learns which one. An image of the system's
 * store is shown even if the user has one of the same name, which wins. */
struct locate_visit {
	const char *directory;
	bool own;
};
int locate_list(
	int (*each)(const struct locate_visit *where, const struct image *image, void *userdata),
	void *userdata, struct error *err);
