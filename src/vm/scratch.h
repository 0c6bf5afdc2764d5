/* Scratch disks: an empty ext4 file system in a nameless sparse file. */
#pragma once

#include "lib/error.h"

/* The smallest size that ext4 makes sense in. */
#define SCRATCH_SIZE_MIN (16 * 1024 * 1024)

/* Makes the file system in a file that has its size already. Returns 0 or negative errno. Needs
 * mke2fs, and that the file may be opened anew. */
int scratch_format(int fd, struct error *err);

/* Makes one of `bytes` in `directory`; its root directory is open to everyone, as /tmp is.
 * Returns a descriptor that is the only thing that keeps it, or negative errno. Needs mke2fs. */
int scratch_open(const char *directory, uint64_t bytes, struct error *err);
