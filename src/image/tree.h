/* An unpacked root file system in a directory. Its symbolic links are its own: an absolute one
 * begins at the tree's root, none leads out of it. */
#pragma once

#include "lib/error.h"

/* Opens a file or directory of the tree. Returns the descriptor or negative errno. */
int tree_open(int root_fd, const char *path, int flags);

/* Reads a whole file; as file_read(). */
int tree_read(int root_fd, const char *path, size_t max, char **ret, size_t *ret_length);
