/* Garbage: blobs that no tag reaches, nor an image that is kept without one, and temporary files
 * whose writer is gone.
 *
 * The exclusive lock keeps out everybody who has committed a blob that no tag names yet. Temporary
 * files are locked one by one by their writers, so a download of hours does not stand in the way.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "image/store_private.h"
#include "image/workdir.h"
#include "lib/file.h"
#include "lib/strv.h"

struct collector {
	struct store *store;
	bool dry_run;
	struct strv live; /* digests, sorted before they are looked up */
	uint64_t files, bytes;
};

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int mark_tag(
	struct store *s, const char *name, const char *tag, void *userdata, struct error *err)
{
	struct collector *c = userdata;
	struct image *image AUTO(image_freep) = NULL;
	int r = store_load_image(s, name, tag, &image, err);

	if (r < 0) {
		fail_within(err,
			"nothing was collected, because '%s:%s' cannot be read (remove that tag first)",
			name, tag);
		return r;
	}
	strv_add(&c->live, image->digest);
	for (size_t i = 0; i < image->manifest->part_count; i++)
		strv_add(&c->live, image->manifest->parts[i].digest);
	return 0;
}

/* One whose manifest cannot be read is of no use, and can be fetched again. */
static int mark_kept(struct store *s, const char *digest, void *userdata, struct error *err)
{
	struct collector *c = userdata;
	struct manifest *m AUTO(manifest_freep) = NULL;

	if (store_load_manifest(s, digest, &m, NULL) < 0)
		return c->dry_run ? 0 : store_unkeep(s, digest, err);
	strv_add(&c->live, digest);
	for (size_t i = 0; i < m->part_count; i++)
		strv_add(&c->live, m->parts[i].digest);
	return 0;
}

static bool is_live(const struct collector *c, const char *digest)
{
	return c->live.count > 0 &&
	       bsearch(&digest, c->live.items, c->live.count, sizeof(char *), compare_text);
}

static void count_file(struct collector *c, int dir_fd, const char *name)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	c->files++;
	c->bytes += (uint64_t)st.st_blocks * 512;
}

typedef int (*entry_fn)(struct collector *c, int dir_fd, const char *name);

static int collect_blob(struct collector *c, int dir_fd, const char *name)
{
	if (is_live(c, name))
		return 0;
	count_file(c, dir_fd, name);
	if (!c->dry_run)
		blob_unset_checked(c->store, name);
	return c->dry_run ? 0 : file_remove_tree(dir_fd, name);
}

/* Notes on blobs that are gone, and what a killed writer of a note left: neither is worth a count.
 */
static int collect_note(struct collector *c, int dir_fd, const char *name)
{
	return is_live(c, name) || c->dry_run ? 0 : file_remove_tree(dir_fd, name);
}

static int collect_temporary(struct collector *c, int dir_fd, const char *name)
{
	uint64_t bytes = 0;
	int r = workdir_remove_stale(dir_fd, name, c->dry_run, &bytes);

	if (r == -EWOULDBLOCK)
		return 0;
	c->files++;
	c->bytes += bytes;
	return r;
}

/* A part that nobody has gone on with for long, by the age of its .have file, which is also its
 * lock. That goes last, so that what is left of a part is always found. */
static int collect_partial(struct collector *c, int dir_fd, const char *name)
{
	char part[DIGEST_HEX_SIZE], have[DIGEST_HEX_SIZE + sizeof(STORE_PARTIAL_HAVE)];
	autoclose int fd = -1;
	struct stat st;
	int r;

	snprintf(part, sizeof(part), "%s", name);
	snprintf(have, sizeof(have), "%s" STORE_PARTIAL_HAVE, part);
	if (!streq(name, have) && faccessat(dir_fd, have, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0; /* its turn comes with the other one */
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || file_lock(fd, true, false) < 0 || fstat(fd, &st) < 0 ||
		time(NULL) - st.st_mtime < STORE_PARTIAL_AGE_S)
		return 0;
	count_file(c, dir_fd, part);
	if (c->dry_run)
		return 0;
	r = file_remove_tree(dir_fd, part);
	return r < 0 ? r : file_remove_tree(dir_fd, name);
}

/* What a killed writer of a tag left beside the tags. */
static int collect_tag_temporary(struct collector *c, int dir_fd, const char *name)
{
	return reference_word_is_valid(name) || c->dry_run ? 0 : file_remove_tree(dir_fd, name);
}

static int each_entry(struct collector *c, int parent_fd, const char *path, entry_fn each)
{
	int fd = openat(parent_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int r = directory ? 0 : -errno;

	if (!directory)
		base_close(fd);
	while (r == 0 && (entry = readdir(directory)))
		if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
			r = each(c, fd, entry->d_name);
	if (directory)
		closedir(directory);
	return r;
}

static int collect_name(struct collector *c, int dir_fd, const char *name)
{
	int r = each_entry(c, dir_fd, name, collect_tag_temporary);

	return r == -ENOTDIR || r == -ENOENT ? 0 : r;
}

static int collect_all(struct collector *c, struct error *err)
{
	static const struct {
		const char *path;
		entry_fn each;
	} directories[] = {
		{STORE_BLOBS, collect_blob},
		{STORE_CHECKED, collect_note},
		{STORE_TMP, collect_temporary},
		{STORE_PARTIAL, collect_partial},
		{STORE_INDEX, collect_note},
		{STORE_NAMES, collect_name},
	};
	int r = store_each_tag(c->store, mark_tag, c, err);

	if (r == 0)
		r = store_each_kept(c->store, mark_kept, c, err);
	if (r < 0)
		return r;
	if (c->live.failed)
		return fail(err, -ENOMEM, "out of memory");
	if (c->live.count > 0)
		qsort(c->live.items, c->live.count, sizeof(char *), compare_text);
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		r = each_entry(c, c->store->dir_fd, directories[i].path, directories[i].each);
		if (r < 0)
			return fail_errno(err, r, "cannot clean '%s/%s'", c->store->directory,
				directories[i].path);
	}
	return 0;
}

void store_collect_temporary(struct store *s)
{
	struct collector c = {.store = s};

	if (s->lock_fd < 0 || file_lock(s->lock_fd, true, false) < 0)
		return;
	(void)each_entry(&c, s->dir_fd, STORE_TMP, collect_temporary);
	store_release(s);
}

int store_collect(
	struct store *s, bool dry_run, uint64_t *ret_files, uint64_t *ret_bytes, struct error *err)
{
	struct collector c = {.store = s, .dry_run = dry_run};
	int r;

	store_release(s); /* one process cannot wait for itself */
	r = store_lock(s, true, err);
	if (r < 0)
		return r;
	r = collect_all(&c, err);
	store_release(s);
	strv_done(&c.live);
	*ret_files = c.files;
	*ret_bytes = c.bytes;
	return r;
}
