/* Disks of built images: one ext4 file system, without a partition table, made from an archive
 * without mounting anything. */
#pragma once

#include "image/runner.h"
#include "lib/error.h"

/* The smallest that holds Debian with a kernel, and the largest that an overlay takes. */
#define DISK_SIZE_MIN (UINT64_C(1) << 30)
#define DISK_SIZE_MAX (UINT64_C(8) << 40)

/* Unpacks the root file system in `archive` into the new directory `tree` and makes of it the file
 * system of `size` bytes in `path`, an empty file. Owners and modes are the archive's, also when we
 * are not root. Of /boot and /dev only the directories go in. Returns 0 or negative errno. */
int disk_write(const struct runner *runner, const char *archive, const char *tree, const char *path,
	uint64_t size, struct error *err);

/* Cuts off the zeros at the end of a sparse file. Returns 0 or negative errno. */
int disk_trim(int fd);
