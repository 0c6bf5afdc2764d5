/* A writer of cpio archives in the "newc" form, which Linux takes as an initial file system.
 * Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst. */
#pragma once

#include <sys/stat.h>

#include "lib/base.h"

/* Everything belongs to root and has no date, so that the same content gives the same archive. */
struct cpio {
	int fd;
	uint32_t inode;
	int error; /* the first one; later calls do nothing. cpio_done() returns it */
};

void cpio_init(struct cpio *c, int fd);
void cpio_add_directory(struct cpio *c, const char *name);
void cpio_add_device(struct cpio *c, const char *name, mode_t mode, unsigned major, unsigned minor);
void cpio_add_bytes(struct cpio *c, const char *name, mode_t mode, const void *data, size_t length);

/* Adds the whole content of a regular file or memfd. */
void cpio_add_file(struct cpio *c, const char *name, mode_t mode, int fd);

/* Ends the archive. Returns 0 or the first failure as negative errno. */
int cpio_done(struct cpio *c);
