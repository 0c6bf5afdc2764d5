/* Directories to build in: below the store's tmp, locked while in use, and removed by the garbage
 * collector if the builder was killed.
 *
 * A second directory lies outside of the store, because programs that run as another user (a range
 * of /etc/subuid) must be able to reach it, which a home directory does not let them. The first one
 * names it, so that it is found again. */
#pragma once

#include "image/store.h"

struct workdir {
	int fd;        /* of `path`, and the lock: a child that inherits it keeps the lock */
	char *path;    /* private: mode 0700 */
	char *outside; /* in $TMPDIR or /var/tmp: mode 0755 */
};

/* Makes both directories. Returns 0 or negative errno. */
int workdir_open(struct store *s, struct workdir **ret, struct error *err);

/* Removes both with everything in them. */
struct workdir *workdir_free(struct workdir *w);
DEFINE_CLEANUP(struct workdir *, workdir_free)

/* Returns "PATH/NAME" for the caller to free, or NULL when out of memory. */
char *workdir_file(const struct workdir *w, const char *name);

/* Removes an entry of the store's tmp, file or directory, if nobody has it locked; with `dry_run`
 * only counts. Returns 0, -EWOULDBLOCK for one that is in use, or negative errno. */
int workdir_remove_stale(int dir_fd, const char *name, bool dry_run, uint64_t *ret_bytes);
