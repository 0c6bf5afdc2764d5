/* A second wall around the shared directory, where the kernel has Landlock: if the first, tree.h,
 * had a hole, files elsewhere could still not be opened, made, removed or renamed. */
#pragma once

#include "lib/base.h"

/* Confines the process to the tree below `fd`. Returns 0, 1 where the kernel has no Landlock, or
 * negative errno. */
int landlock_enter(int fd, bool read_only);
