/* MOUNT: shares, volumes and bind mounts; and their end. */
#pragma once

#include "lib/error.h"
#include "lib/message.h"

#define MOUNTS_MAX 64

/* What MOUNT has mounted, in that order. */
struct mounts {
	char *targets[MOUNTS_MAX];
	size_t count;
};

/* Flushes and unmounts all, last first; lazily what is still in use. */
void mounts_done(struct mounts *m);

/* The device file of a block device: "virtio-SERIAL" is looked up, a path is checked. Returns 0 or
 * -ENODEV. */
int mount_find_device(const char *source, char *ret, size_t size);
