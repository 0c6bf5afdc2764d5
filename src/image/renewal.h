/* The next version of a built image, by a copy of its disk that a VM changes: what does not change
 * stays where it is, so that few chunks of the disk become others. */
#pragma once

#include "image/workshop.h"

struct renewal {
	struct store *store;
	const struct image *old;
	struct workshop shop;
	struct store_upload *disk;
	int kernel_fd, initrd_fd;  /* the old ones, read-only */
	int archive_fd;            /* for the VM's archive, see renewal_finish() */
	struct manifest *manifest; /* of the next version */
	char *changes;             /* what the VM said that it upgraded, a line each */
};

#define RENEWAL_INIT                                                                      \
	{                                                                                 \
		.shop = WORKSHOP_INIT, .kernel_fd = -1, .initrd_fd = -1, .archive_fd = -1 \
	}

/* Copies the disk of `old`, an image of the store that was built (-EOPNOTSUPP for others). Returns
 * 0 or negative errno; renewal_done() is due in both cases. */
int renewal_open(struct store *s, const struct image *old, const volatile sig_atomic_t *cancel,
	struct renewal *ret, struct error *err);
void renewal_done(struct renewal *r);

/* The disk, for the VM to write to. */
int renewal_disk(const struct renewal *r);

/* A Debian package with this program's agent, for the VM to install. Returns its descriptor or
 * negative errno. */
int renewal_open_agent(struct renewal *r, struct error *err);

/* Makes the parts of the next version and its manifest, when the VM has ended. Its archive (tar)
 * has
 *
 *   ./changes                    lines of "PACKAGE OLD NEW"
 *   ./boot/vmlinuz-RELEASE       where the kernel or the agent is to change: the new kernel; empty
 * if
 *   ./lib/modules/RELEASE/       it is as before, and its modules
 *
 * The file system is checked. The image gets no name here. Returns 0 or negative errno. */
int renewal_finish(struct renewal *r, struct error *err);
