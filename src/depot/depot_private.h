/* What the depot's files share, and nobody else sees. */
#pragma once

#include <pthread.h>

#include "depot/depot.h"

#define DEPOT_MANIFEST "manifest"
#define DEPOT_INDEX    "index"
#define DEPOT_CHUNKS   "chunks"
#define DEPOT_TMP      "tmp"

/* Collecting garbage is a walk through directories. */
#define DEPOT_LOCK_TIMEOUT_MS 60000

/* Room for the longest path below the depot. */
#define DEPOT_PATH_SIZE 128

struct depot_pending {
	uint8_t (*ids)[CHUNK_ID_SIZE];
	size_t count, room;
};

struct depot {
	char *directory;
	int dir_fd, lock_fd;
	bool writable;
	char writer[17];      /* before the names of our files in tmp */
	pthread_mutex_t lock; /* of the members below */
	unsigned holds;
	uint64_t temporary;           /* how many files with a number were made in tmp */
	struct depot_pending pending; /* chunks that wait in tmp */
	pthread_mutex_t commit;       /* held by the thread that commits */
};

/* Takes the lock file, waiting for others at most the time above. */
int depot_lock(struct depot *d, bool exclusive, struct error *err);

/* Is the chunk there, and not only put, perhaps by another thread, which may yet fail? */
bool depot_has_named_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE]);

/* Where a chunk that was put waits. */
void depot_pending_path(
	const struct depot *d, const uint8_t id[CHUNK_ID_SIZE], char ret[DEPOT_PATH_SIZE]);

/* Takes away the files of all that wait. */
void depot_pending_drop(struct depot *d);

/* Writes a file that is seen whole or not at all, and brings it to the disk. */
int depot_write(
	struct depot *d, const char *path, const void *data, size_t length, struct error *err);

/* Removes what others have left in tmp; nobody else is at work. */
void depot_clean(struct depot *d);

/* Fills the message for a file of the depot that cannot be written; for want of room it says so. */
int depot_fail_write(const struct depot *d, int code, const char *path, struct error *err);
