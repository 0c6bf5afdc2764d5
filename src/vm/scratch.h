/* Scratch disks: an empty ext4 file system in a nameless file, or on a volume. */
#pragma once

#include "lib/error.h"

/* The smallest size that ext4 makes sense in. */
#define SCRATCH_SIZE_MIN (16 * 1024 * 1024)

/* Makes the file system in a file that has its size already. Returns 0 or negative errno. Needs
 * mke2fs, and that the file may be opened anew. */
int scratch_format(int fd, struct error *err);

/* Takes room for all of a file's `bytes` on the disk. Returns 0 or negative errno (-ENOSPC: there
 * is not so much). */
int scratch_allocate(int fd, uint64_t bytes, struct error *err);

/* Is it a volume, a block device? Then who lent it has made the file system: its user may not open
 * it anew. */
bool scratch_is_volume(int fd);

/* The size of the file or volume; 0 if it is neither. */
uint64_t scratch_size(int fd);

/* Makes one of `bytes` in `directory`, and with `allocate` takes its room on the disk at once; its
 * root directory is open to everyone, as /tmp is. Returns a descriptor that is the only thing that
 * keeps it, or negative errno. Needs mke2fs. */
int scratch_open(const char *directory, uint64_t bytes, bool allocate, struct error *err);
