/* What a VM is lent: the parts of an image of the machine's store, and files of its own. */
#pragma once

#include "hypervisor/worker.h"
#include "image/store.h"

/* An image's parts, opened by the worker, as a part of the one who wants them. */
struct loan_image {
	struct worker_job job; /* `done` is the wanter's */
	const char *directory; /* of what the daemon keeps */
	struct store *store;   /* the machine's, open for good; the worker's alone */
	char *reference;
	char *name, *tag;
	char digest[DIGEST_HEX_SIZE];
	struct manifest *manifest;
	int disk_fd, kernel_fd, initrd_fd, seed_fd; /* -1: it has none */
	int result;
	struct error err;
};

#define LOAN_IMAGE_INIT                                                         \
	{                                                                       \
		.disk_fd = -1, .kernel_fd = -1, .initrd_fd = -1, .seed_fd = -1, \
	}

/* A worker's job: finds and opens the image, and sets `result`. */
void loan_image_work(struct worker_job *job);
void loan_image_done(struct loan_image *image);

/* A file for a VM to write to: nameless, so that nothing is left of it, the user's own, and kept
 * within its limit. */
struct loan_file {
	int fd; /* -1: none */
	uint64_t limit;
};

/* Makes one of `bytes`, all zero, in `directory`. Returns 0 or negative errno. */
int loan_file_open(struct loan_file *ret, const char *directory, uid_t uid, gid_t gid,
	uint64_t bytes, uint64_t limit, struct error *err);

/* Takes all the room of the file on the disk now, so that it cannot be missing later. Returns 0 or
 * negative errno (-ENOSPC: there is not so much). */
int loan_file_allocate(struct loan_file *file, struct error *err);

/* Cuts off what is beyond the limit. Returns true if there was something. */
bool loan_file_trim(struct loan_file *file);

/* Takes it back: whoever still has it finds it empty. With `leave`, that is not disturbed. */
void loan_file_close(struct loan_file *file, bool leave);
