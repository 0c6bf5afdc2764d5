/* Writes the disk of an image to a volume, which may take minutes: a job of the worker for such. */
#pragma once

#include "hypervisor/worker.h"
#include "image/store.h"

struct imagewriter {
	struct worker_job job; /* first; `done` is the owner's */
	struct store *store;   /* the worker's alone */
	const char *directory; /* for a file beside it, while a qcow2 image is unpacked */
	uid_t uid;             /* who unpacks that: a user without rights; 0: nobody does */
	gid_t gid;
	const bool *ending;           /* becomes true when it is to give up; read from the thread */
	char digest[DIGEST_HEX_SIZE]; /* of the image */
	int fd;                       /* the volume; -1: only looks how large it is to be */
	uint64_t disk_bytes;          /* that is said here */
	int result;                   /* -ENOENT: there is no such image any more */
	struct error err;
};

/* The work: all that is on the volume has been read again and is right when `result` is 0, and is
 * on the disk. */
void imagewriter_work(struct worker_job *job);
