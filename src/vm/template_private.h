/* What the files of a template's code share. */
#pragma once

#include <sys/stat.h>

#include "vm/template.h"

#define TEMPLATE_JSON   "template.json"
#define TEMPLATE_USAGE  "usage"
#define TEMPLATE_MAKING "making-"
#define TEMPLATE_DEAD   "dead-"
#define TEMPLATE_FAILED ".failed"

/* The longest of the names: making-KEY. */
#define TEMPLATE_NAME_MAX (sizeof(TEMPLATE_MAKING) + DIGEST_HEX_SIZE)

/* Far more than one of ours; a bound for what may lie there. */
#define TEMPLATE_JSON_MAX 16384

/* Locks that keep out those who open a template are held for microseconds: from the moment in which
 * it appears until its maker lets go, or until its remover has renamed it. */
#define TEMPLATE_LOCK_MS 2000

enum template_file { TEMPLATE_MEMORY, TEMPLATE_STATE, TEMPLATE_OVERLAY, TEMPLATE_FILES };

extern const char *const template_file_names[TEMPLATE_FILES];

struct template_stamp {
	char text[128];
};

/* What of a file nobody can change without a trace: inode, size, times of change. */
void template_stamp_set(struct template_stamp *ret, const struct stat *st);

/* Parses a template.json as if it came from anywhere. Returns 0 or -EINVAL. */
int template_record_parse(const char *json, size_t length, struct template_info *ret,
	struct template_stamp ret_stamps[TEMPLATE_FILES], struct error *err);

/* The caller frees; NULL when out of memory. */
char *template_record_format(
	const struct template_info *info, const struct template_stamp stamps[TEMPLATE_FILES]);

/* Opens the directory of all templates, if nobody else can write to it. Returns the descriptor,
 * -ENOENT (without `make`), -EPERM, or another negative errno. */
int template_directory_open(const char *directory, bool make, struct error *err);

/* The same for a directory of templates that is another user's. */
int template_directory_open_of(const char *directory, uid_t owner, struct error *err);

/* As template_open(), of templates that belong to `owner`; those of others are opened read-only. */
int template_open_at(
	int parent_fd, const char *key, uid_t owner, struct template **ret, struct error *err);

/* Opens and locks the directory that `name` stands for, also if that changes meanwhile. Returns the
 * descriptor, -ENOENT, -ENOTDIR, -EWOULDBLOCK if it is locked by others for `wait_ms`, or another
 * negative errno. */
int template_lock(int parent_fd, const char *name, bool exclusive, int wait_ms);

/* Does `name` still stand for this directory? */
bool template_is_at(int dir_fd, int parent_fd, const char *name);

/* Moves aside what `name` stands for, so that nobody opens it any more. The caller holds a lock on
 * it: whoever renames a directory has locked it before. `ret_name` has TEMPLATE_NAME_MAX bytes.
 * Returns 0 or negative errno. */
int template_bury(int parent_fd, const char *name, char *ret_name);

/* Removes what `name` stands for, whose exclusive lock the caller holds. Returns 0 or negative
 * errno. */
int template_remove_locked(int parent_fd, const char *name);

/* Bytes that the files of a template, or of a part of one, take on the disk. */
uint64_t template_bytes(int dir_fd);

/* Calls `each` for each entry of a directory but "." and "..", of which it may remove any, until
 * that returns other than 0. Returns what it returned, or negative errno. */
int template_each_entry(
	int dir_fd, int (*each)(int dir_fd, const char *name, void *userdata), void *userdata);

/* Does a note with this date still count? */
bool template_failure_counts(const struct stat *st);

/* Removes the note on why making a template failed. */
void template_forget_failure(int parent_fd, const char *key);
