/* What a VM needs, from the user's own directories: nothing privileged, no daemon. */
#pragma once

#include "engine/request.h"
#include "image/manifest.h"

/* The things that a VM is started from. Whoever gave them takes them back when the descriptors are
 * closed. */
struct resources {
	struct manifest *manifest;
	char *image_name, *image_tag;
	char image_digest[DIGEST_HEX_SIZE];
	int kernel_fd, initrd_fd, disk_fd, overlay_fd, scratch_fd, seed_fd;
};

#define RESOURCES_INIT                                                             \
	{                                                                          \
		.kernel_fd = -1, .initrd_fd = -1, .disk_fd = -1, .overlay_fd = -1, \
		.scratch_fd = -1, .seed_fd = -1                                    \
	}

/* Finds the image in the user's store (else the system's), checks that the request fits it, and
 * makes overlay and scratch disk. Returns 0 or negative errno with what to do. */
int local_open(const struct request *request, struct resources *ret, struct error *err);

/* Empties the overlay, for another start after one that failed. */
int local_renew(struct resources *r, struct error *err);

void local_close(struct resources *r);
