/* What a VM needs, from the user's own directories: nothing privileged, no daemon. */
#pragma once

#include "engine/card.h"
#include "engine/request.h"
#include "image/manifest.h"
#include "vm/template.h"

/* The things that a VM is started from. Whoever gave them takes them back when the descriptors are
 * closed. */
struct resources {
	struct manifest *manifest;
	char *image_name, *image_tag;
	char image_digest[DIGEST_HEX_SIZE];
	bool own_image; /* of the user's own store, not the machine's */
	char *hostname; /* of the lease that came with it; NULL: none */
	int kernel_fd, initrd_fd, disk_fd, scratch_fd, seed_fd;
	struct vm_tap tap;         /* of one of the node's networks */
	struct card card;          /* what it is on it */
	int overlay_fd;            /* -1: the VM writes to the disk itself */
	struct template *template; /* to start from; NULL: none */
	int memory_fd;             /* a copy of the template's, for a VM with memory of its own */
	struct broker *broker;     /* who lent them; NULL: nobody */
	uint64_t disk_iops, disk_rate; /* most that who lent them allows, a second; 0: all */
	struct volume_lent volumes[VM_VOLUMES_MAX];
	size_t volume_count;
};

#define RESOURCES_INIT                                                             \
	{                                                                          \
		.kernel_fd = -1, .initrd_fd = -1, .disk_fd = -1, .overlay_fd = -1, \
		.scratch_fd = -1, .seed_fd = -1, .memory_fd = -1                   \
	}

/* Finds the image in the user's store (else the system's; or takes the request's parts), checks
 * that the request fits it, and makes overlay and scratch disk. Returns 0 or negative errno with
 * what to do. */
int local_open(const struct request *request, struct resources *ret, struct error *err);

/* The same without the disks that a VM writes to: what a template is made from. */
int local_open_image(const char *reference, uint64_t cpus, uint64_t memory_mib,
	struct resources *ret, struct error *err);

/* The same for an image of the user's own store alone, and checked as local_open() does. Returns
 * -ENOENT if there is none. */
int local_open_own_image(const struct request *request, struct resources *ret, struct error *err);

/* Does the request fit the image? Returns 0 or negative errno with what to do. */
int local_check(const struct request *request, const struct manifest *m, struct error *err);

/* Where the user's templates for this host are; the caller frees. NULL when out of memory. */
char *local_templates(void);

/* Empties the overlay, for another start after one that failed. */
int local_renew(struct resources *r, struct error *err);

void local_close(struct resources *r);
