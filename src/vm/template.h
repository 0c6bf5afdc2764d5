/* Templates on disk: a guest that has booted, as files that clones start from.
 *
 * A directory of templates belongs to one user and one host:
 *
 *   KEY/           a template, renamed into place when it is whole
 *     template.json    what it is, and a stamp of each file: whoever changes one changes its stamp
 *     memory           the guest's memory, sparse
 *     state            its devices
 *     overlay          what it wrote to its disk
 *     usage            how often and when it was used; may be lost
 *   making-KEY/    one that is being made, locked by its maker
 *   dead-RANDOM/   one that is being removed
 *   KEY.failed     why making it failed last
 *
 * KEY is a SHA-256 over all that makes a difference to the guest. The lock of a template is the
 * flock of its directory: shared by those who use it, exclusive for who makes or removes it. All
 * locks and descriptors are close-on-exec; a child that is forked, or inherits them on purpose,
 * keeps the lock as long as it has them. A process may be killed anywhere: what it leaves is taken
 * over by the next maker, or collected.
 */
#pragma once

#include "lib/digest.h"
#include "lib/error.h"

#define TEMPLATE_TEXT_MAX   128  /* with NUL; the longest name of an image or tag is shorter */
#define TEMPLATE_REASON_MAX 256  /* with NUL */
#define TEMPLATE_FAILED_S   3600 /* for how long a failure counts */

/* How long a maker waits for another one: several times what the slowest boot takes. */
#define TEMPLATE_WAIT_MS 600000

struct template_info {
	char key[DIGEST_HEX_SIZE];
	char image_name[TEMPLATE_TEXT_MAX];
	char image_tag[TEMPLATE_TEXT_MAX];
	char image_digest[DIGEST_HEX_SIZE];
	uint64_t cpus;
	uint64_t memory_mib;
	uint64_t shares;                 /* slots */
	char devices[TEMPLATE_TEXT_MAX]; /* for people: "network, 2 shares" */
	char accel[TEMPLATE_TEXT_MAX];
	char cpu_model[TEMPLATE_TEXT_MAX];
	char qemu_version[TEMPLATE_TEXT_MAX];
	char qemu_digest[DIGEST_HEX_SIZE];
	char agent_version[TEMPLATE_TEXT_MAX];
	uint64_t created; /* s since the epoch, like last_used; never in the future */
	uint64_t boot_us; /* what a boot takes that a clone saves */
	/* Not in template.json, and ignored by template_make_commit(): */
	uint64_t bytes; /* allocated on disk, by all files together */
	uint64_t uses;
	uint64_t last_used;                /* 0: never */
	uint64_t last_start_us;            /* how long the last clone took to start; 0: not known */
	char damaged[TEMPLATE_REASON_MAX]; /* why it cannot be used, "" if it can; of a damaged one
					    * only the key and the bytes are known */
};

struct template
{
	struct template_info info;
	int lock_fd;   /* of the directory; it is in use as long as this is open */
	int memory_fd; /* opened for writing, as QEMU needs it; only ever mapped privately */
	int state_fd;  /* read-only, as is the next */
	int overlay_fd;
};

/* Opens a template for use. Takes well below a millisecond: nothing is hashed. Returns 0 and *ret
 * for template_close(), -ENOENT if there is none, -EBADMSG with the reason if it is damaged, cut
 * short or altered, -EPERM if the directory is one that others can write to, -EBUSY if somebody
 * keeps it locked, or another negative errno. */
int template_open(const char *directory, const char *key, struct template **ret, struct error *err);

struct template *template_close(struct template *t);
DEFINE_CLEANUP(struct template *, template_close)

/* Counts a use, which began just now and took `start_us` until the clone answered (0: not known).
 * Returns 0 or negative errno, which harms nothing. */
int template_record_use(const struct template *t, uint64_t start_us);

struct template_making {
	int parent_fd, dir_fd; /* dir_fd holds the lock */
	int memory_fd;         /* these are empty, and open for reading and writing */
	int state_fd;
	int overlay_fd;
	char key[DIGEST_HEX_SIZE];
	bool committed;
};

/* Begins to make a template; `directory` is made if it is missing. One process at a time makes the
 * same one; what a dead one left is cleared. With `wait`, waits until the other maker is done or
 * dead, at most TEMPLATE_WAIT_MS. Returns 0 and *ret for template_make_commit() and
 * template_make_free(), -EEXIST if there is a template already that can be opened, -EWOULDBLOCK if
 * another process makes it (without `wait`), -ETIMEDOUT, -EPERM as template_open(), -ENOSPC, or
 * another negative errno. */
int template_make_start(const char *directory, const char *key, bool wait,
	struct template_making **ret, struct error *err);

/* Gives the memory file its size, without taking room on the disk. Returns 0 or negative errno. */
int template_make_resize(struct template_making *m, uint64_t memory_mib, struct error *err);

/* Turns what was made into a template, durably: memory that is zero becomes holes, files are
 * written out (which may take seconds), and a damaged template of this key is replaced. Nobody may
 * have the files open for writing any more: QEMU has ended. `info` need not have a key. Returns 0,
 * -EINVAL if `info` and the files do not fit each other, or another negative errno, and then there
 * is no new template. */
int template_make_commit(
	struct template_making *m, const struct template_info *info, struct error *err);

/* Takes over the template `key` that another user, `owner`, has made in `from`: copies it to `to`,
 * where it is ours and that user cannot change it any more. What `owner` wrote is not trusted to be
 * well-formed. Needs the right to read that user's files. Returns 0, -EEXIST if it is there
 * already, or as template_open() and template_make_start(). */
int template_adopt(
	const char *from, uid_t owner, const char *to, const char *key, struct error *err);

/* Removes what was not committed. */
struct template_making *template_make_free(struct template_making *m);
DEFINE_CLEANUP(struct template_making *, template_make_free)

/* Removes a template, damaged or not. Returns 0, -EBUSY if it is in use (by this process too: close
 * it first), -ENOENT, or another negative errno. */
int template_remove(const char *directory, const char *key, struct error *err);

/* Calls `each` for all templates, the one used last first, the damaged ones at the end; it may
 * remove the one it is called for, and ends the list by returning other than 0. A directory that is
 * missing is empty. Returns what the last `each` returned, or negative errno. */
int template_list(const char *directory,
	int (*each)(const struct template_info *info, void *userdata), void *userdata,
	struct error *err);

/* Removes what the dead left, damaged templates, failures that no longer count, and then the
 * templates that were not used for the longest time (or since they were made) until all of them
 * take at most `budget_bytes`. What is in use stays. With `dry_run` only counts. *ret_count and
 * *ret_bytes (may be NULL): templates and halves of templates, and their bytes. Returns 0 or
 * negative errno. */
int template_gc(const char *directory, uint64_t budget_bytes, bool dry_run, uint64_t *ret_count,
	uint64_t *ret_bytes, struct error *err);

/* Keeps the reason why making a template failed, so that it is not tried again and again; a
 * template_make_commit() drops it. Returns 0 or negative errno. */
int template_note_failure(const char *directory, const char *key, const char *text);

/* Did making it fail within the last TEMPLATE_FAILED_S? Then *ret_text (may be NULL) is the reason,
 * for the caller to free. */
bool template_failed_recently(const char *directory, const char *key, char **ret_text);
