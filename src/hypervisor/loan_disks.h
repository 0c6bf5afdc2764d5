/* The disks that a VM writes to: an overlay, and a scratch disk, which is a file or a volume. */
#pragma once

#include "hypervisor/loan.h"

struct hypervisor;
struct volume;

struct loan_disks {
	struct loan_file overlay, scratch;
	struct volume *volume; /* instead of the scratch file */
	struct volume *root;   /* instead of the image and the overlay */
	bool without_volume;   /* none could be made, and a file serves */
};

#define LOAN_DISKS_INIT                                       \
	{                                                     \
		.overlay = {.fd = -1}, .scratch = {.fd = -1 } \
	}

/* Is a volume to be asked for first? */
bool loan_disks_want_volume(
	const struct loan_disks *d, const struct hypervisor *h, uint64_t scratch_bytes);

/* Makes the rest: the overlay of a disk of `disk_bytes`, and the scratch file, where there is no
 * volume. Returns 0 or negative errno. */
int loan_disks_make(struct loan_disks *d, const struct hypervisor *h, uid_t uid, gid_t gid,
	uint64_t disk_bytes, uint64_t scratch_bytes, struct error *err);

/* -1: none. */
int loan_disks_scratch_fd(const struct loan_disks *d);

/* Cuts off what is beyond the limits. Returns true if there was something. */
bool loan_disks_trim(struct loan_disks *d);

/* Takes all back, if the daemon does not end. */
void loan_disks_close(struct loan_disks *d, const struct hypervisor *h);
