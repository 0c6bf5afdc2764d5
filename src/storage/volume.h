/* Volumes of a node's own volume group, by LVM's commands: thin ones, of one thin pool. What is
 * made here bears a tag, and nothing without it is ever removed.
 *
 * All calls start programs and wait for them: a fraction of a second each, more where LVM has to
 * wait for its own locks. They are for a process that serves nobody else. */
#pragma once

#include "lib/digest.h"
#include "lib/strv.h"
#include "storage/room.h"

#define VOLUME_NAME_MAX 32 /* with NUL */

/* Names of volumes begin so, after which come letters, digits and '_'. */
#define VOLUME_PREFIX "wnodes_"

/* Those of volumes with an image, of which snapshots are made. */
#define VOLUME_IMAGE_PREFIX VOLUME_PREFIX "i_"

/* Beyond this much of a thin pool's data or tables none is made: writes to a pool that is full
 * fail, for all who have a volume of it. */
#define VOLUME_POOL_FULL_PERCENT 90

struct volume_pool {
	const char *group, *pool;
	const char *tag; /* of all volumes of this node */
};

bool volume_name_is_valid(const char *name);

/* Looks at the pool. Returns 0 or negative errno with what is wrong: no LVM, no such group, no such
 * pool, or no right to use them. */
int volume_look(const struct volume_pool *p, struct volume_room *ret, struct error *err);

/* Reads what `lvs` says of it, in JSON; for tests. Returns 0 or -EPROTO. */
int volume_parse_room(const char *text, struct volume_room *ret, struct error *err);

/* Has the pool room for one more of `bytes`? Returns 0 or -ENOSPC with how full it is. */
int volume_check_room(const struct volume_pool *p, const struct volume_room *room, uint64_t bytes,
	struct error *err);

/* Makes one of at least `bytes`; all of it reads as zero. Returns 0, -EEXIST for a name that is
 * taken, or negative errno. */
int volume_make(const struct volume_pool *p, const char *name, uint64_t bytes, struct error *err);

/* Makes a snapshot of `origin` that can be written to, at once and without copying. Returns as
 * volume_make(). */
int volume_snapshot(
	const struct volume_pool *p, const char *name, const char *origin, struct error *err);

/* Says for good, by another tag, that the image whose digest this is lies on it, whole, and takes
 * it out of use: snapshots alone are made of it from then on. All must be on the disk, and nobody
 * have it open. Returns 0 or negative errno. */
int volume_mark(
	const struct volume_pool *p, const char *name, const char *digest, struct error *err);

/* Returns a descriptor, for reading and writing, or negative errno. */
int volume_open(const struct volume_pool *p, const char *name, struct error *err);

/* Writes which volume of the group `fd` is. Asks the kernel alone, and may be called by anybody.
 * Returns 0, or -ENOENT for what is none of ours. */
int volume_identify(int fd, const char *group, char ret_name[VOLUME_NAME_MAX]);

/* Gives all blocks back to the pool; from then on all reads as zero. Returns 0 or negative errno.
 */
int volume_discard(int fd, struct error *err);

/* Removes it. One that is not there is no error. Returns 0, -EBUSY while somebody has it open, or
 * negative errno. */
int volume_remove(const struct volume_pool *p, const char *name, struct error *err);

/* Who still has it open gets errors from now on. Returns 0 or negative errno. */
int volume_cut(const struct volume_pool *p, const char *name, struct error *err);

/* Adds the names of all that bear the tag, and to `ret_images` for each the digest of the image
 * that volume_mark() has said is on it, or "". Returns 0 or negative errno. */
int volume_list(
	const struct volume_pool *p, struct strv *ret, struct strv *ret_images, struct error *err);

/* Reads what `lvs` says of them, in JSON; for tests. Returns 0 or -ENOMEM. */
int volume_parse_list(const char *text, const char *tag, struct strv *ret, struct strv *ret_images);
