/* MOUNT: shares, volumes and bind mounts; and their end. */
#pragma once

#include "lib/error.h"
#include "lib/message.h"

#define MOUNTS_MAX 64

#define MOUNT_TAGS_MAX 32
#define MOUNT_TAG_SIZE 128

struct mounts {
	char *targets[MOUNTS_MAX]; /* what MOUNT has mounted, in that order */
	size_t count;
	char tags[MOUNT_TAGS_MAX][MOUNT_TAG_SIZE]; /* of shares that were seen */
	size_t tag_count;
};

/* Looks for the shares that are there, so that mounting them later needs no search. */
void mounts_learn(struct mounts *m);

/* Flushes and unmounts all, last first; lazily what is still in use. */
void mounts_done(struct mounts *m);

/* The device file of a block device: "virtio-SERIAL" is looked up, a path is checked. Returns 0 or
 * -ENODEV. */
int mount_find_device(const char *source, char *ret, size_t size);
