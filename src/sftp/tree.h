/* The shared directory, and the one way into it. A client sends paths as it likes, and may change
 * the tree while they are looked up, so no path is given to the kernel but by openat2(2) from the
 * directory itself, with no way up and no symbolic link on the way: a client's kernel resolves
 * links itself, by READLINK, and sends what is behind them. */
#pragma once

#include "lib/base.h"

struct tree {
	int fd; /* of the directory */
	bool read_only;
};

/* A name in a directory, for what is made, removed or renamed. */
struct tree_name {
	int fd; /* of the directory */
	const char *name;
};

/* Opens `path` for looking at only (O_PATH), a symbolic link as itself. "" is the directory itself.
 * Returns a descriptor or negative errno, as the following. */
int tree_find(const struct tree *t, const char *path);

/* Opens a regular file. `flags` and `mode` as open(2). */
int tree_open(const struct tree *t, const char *path, int flags, mode_t mode);

int tree_open_directory(const struct tree *t, const char *path);

/* Opens the directory that `path` is in; the name stays in `path`. The caller closes ret->fd, which
 * is -1 after a failure. */
int tree_open_parent(const struct tree *t, const char *path, struct tree_name *ret);
