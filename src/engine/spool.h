/* The spool: a directory in which programs leave their VMs' usage records while no daemon of the
 * node listens. Anybody may write to it, so that nothing that is said in it counts but who owns the
 * file. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

#define SPOOL_DIRECTORY "records" /* beside the daemon's socket */

/* How many records of one user are taken at a time. */
#define SPOOL_USER_MAX 64

/* The spool that belongs to a daemon's socket; the caller frees. NULL when out of memory. */
char *spool_path(const char *socket);

/* Makes the directory: everybody may write to it, and remove their own. Returns 0 or -errno. */
int spool_make(const char *directory, struct error *err);

/* Leaves a record, on the disk when this returns. Returns 0 or negative errno. */
int spool_write(const char *directory, const json_t *record, struct error *err);

struct spool_item {
	char *name; /* of the file */
	uid_t uid;  /* whose it is */
	gid_t gid;
	uint64_t written_us; /* since the epoch */
	json_t *record;      /* as record_check() leaves it */
};

struct spool_items {
	struct spool_item *items;
	size_t count;
	bool more;      /* than could be taken at a time */
	size_t refused; /* that were removed */
};

/* Reads what has been left, and removes what is no record: links, devices, what is too long or
 * makes no sense. Of a file that is being written nothing is said yet. Returns 0 or negative errno.
 */
int spool_read(const char *directory, struct spool_items *ret, struct error *err);
void spool_items_done(struct spool_items *s);

/* Removes a record that has been taken. */
void spool_remove(const char *directory, const char *name);
