/* Garbage of a depot: what no manifest leads to. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "depot/depot_private.h"
#include "depot/digest_set.h"
#include "lib/file.h"

struct collection {
	struct depot *depot;
	struct error *err;
	struct digest_set blobs, chunks;
	bool dry_run;
	time_t newest; /* what is younger stays */
	struct depot_garbage garbage;
};

static int add_parts(const char *digest, void *userdata)
{
	struct collection *c = userdata;
	struct manifest *m AUTO(manifest_freep) = NULL;
	uint8_t blob[DIGEST_SIZE];
	int r = depot_get_manifest(c->depot, digest, &m, NULL, c->err);

	if (r < 0)
		return fail_within(
			c->err, "nothing is removed: it is not known what an image needs");
	for (size_t i = 0; r >= 0 && i < m->part_count; i++)
		r = digest_parse(m->parts[i].digest, blob) < 0 ? -EINVAL
							       : digest_set_add(&c->blobs, blob);
	return r < 0 ? fail_errno(c->err, r, "cannot collect the parts of image %s", digest) : 0;
}

static int add_index(struct collection *c, const struct caibx *x)
{
	int r = 0;

	for (size_t i = 0; i < x->count && r == 0; i++)
		r = digest_set_add(&c->chunks, x->chunks[i].id);
	digest_set_sort(&c->chunks); /* images share most of them */
	return r;
}

static int add_chunks(struct collection *c)
{
	for (size_t i = 0; i < c->blobs.count; i++) {
		struct caibx *x AUTO(caibx_freep) = NULL;
		char blob[DIGEST_HEX_SIZE];
		int r;

		digest_format(c->blobs.items[i], blob);
		r = depot_get_index(c->depot, blob, NULL, &x, NULL, c->err);
		if (r < 0)
			return fail_within(
				c->err, "nothing is removed: it is not known what an image needs");
		r = add_index(c, x);
		if (r < 0)
			return fail_errno(c->err, r, "cannot collect the chunks of %s", blob);
	}
	return 0;
}

static int remove_file(struct collection *c, int dir_fd, const char *name)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode) || st.st_mtime > c->newest)
		return 0;
	if (!c->dry_run && unlinkat(dir_fd, name, 0) < 0)
		return -errno;
	c->garbage.files++;
	c->garbage.bytes += (uint64_t)st.st_size;
	return 0;
}

/* What a file's name says that it is. Returns 0, or -EINVAL for what is none of ours. */
typedef int (*name_fn)(const char *name, uint8_t ret[DIGEST_SIZE]);

static int index_parse_name(const char *name, uint8_t ret[DIGEST_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	if (strlen(name) < DIGEST_HEX_SIZE || !streq(name + DIGEST_HEX_SIZE - 1, ".caibx"))
		return -EINVAL;
	memcpy(hex, name, DIGEST_HEX_SIZE - 1);
	hex[DIGEST_HEX_SIZE - 1] = '\0';
	return digest_parse(hex, ret);
}

/* Chunks of indexes that are too young to go. One that cannot be read needs nothing. */
static int add_young_chunks(struct collection *c)
{
	struct dirent **entries = NULL;
	int count = scandirat(c->depot->dir_fd, DEPOT_INDEX, &entries, NULL, NULL), r = 0;

	if (count < 0)
		return fail_errno(
			c->err, -errno, "cannot read '%s/" DEPOT_INDEX "'", c->depot->directory);
	for (int i = 0; i < count; i++) {
		struct caibx *x AUTO(caibx_freep) = NULL;
		char path[DEPOT_PATH_SIZE], blob[DIGEST_HEX_SIZE];
		uint8_t digest[DIGEST_SIZE];
		struct stat st;

		snprintf(path, sizeof(path), DEPOT_INDEX "/%.*s", DIGEST_HEX_SIZE + 5,
			entries[i]->d_name);
		snprintf(blob, sizeof(blob), "%.64s", entries[i]->d_name);
		if (r == 0 && index_parse_name(entries[i]->d_name, digest) == 0 &&
			fstatat(c->depot->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			st.st_mtime > c->newest &&
			depot_get_index(c->depot, blob, NULL, &x, NULL, NULL) == 0)
			r = add_index(c, x);
		free(entries[i]);
	}
	free(entries);
	return r < 0 ? fail_errno(c->err, r, "cannot collect the chunks of young indexes") : 0;
}

/* Removes the files of a directory that `needed` does not have. */
static int sweep(
	struct collection *c, const char *path, name_fn parse, const struct digest_set *needed)
{
	int fd = openat(c->depot->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	uint8_t digest[DIGEST_SIZE];
	int r = 0;

	if (!dir) {
		r = -errno;
		base_close(fd);
		return fail_errno(c->err, r, "cannot read '%s/%s'", c->depot->directory, path);
	}
	while (r >= 0 && (entry = readdir(dir)))
		if (parse(entry->d_name, digest) == 0 && !digest_set_has(needed, digest))
			r = remove_file(c, fd, entry->d_name);
	closedir(dir);
	return r < 0 ? fail_errno(c->err, r, "cannot remove files of '%s/%s'", c->depot->directory,
			       path)
		     : 0;
}

static int sweep_chunks(struct collection *c)
{
	struct dirent **entries = NULL;
	int count = scandirat(c->depot->dir_fd, DEPOT_CHUNKS, &entries, NULL, NULL), r = 0;

	if (count < 0)
		return fail_errno(
			c->err, -errno, "cannot read '%s/" DEPOT_CHUNKS "'", c->depot->directory);
	for (int i = 0; i < count; i++) {
		char path[DEPOT_PATH_SIZE];

		snprintf(path, sizeof(path), DEPOT_CHUNKS "/%.4s", entries[i]->d_name);
		if (r == 0 && strspn(entries[i]->d_name, "0123456789abcdef") == 4 &&
			entries[i]->d_name[4] == '\0') {
			r = sweep(c, path, chunk_parse_name, &c->chunks);
			if (!c->dry_run) /* only an empty one goes */
				unlinkat(c->depot->dir_fd, path, AT_REMOVEDIR);
		}
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int mark_and_sweep(struct collection *c)
{
	int r = depot_list(c->depot, add_parts, c, c->err);

	if (r < 0)
		return r;
	digest_set_sort(&c->blobs);
	r = add_chunks(c);
	if (r >= 0)
		r = add_young_chunks(c);
	/* An index may go before its chunks, never the other way round. */
	if (r >= 0)
		r = sweep(c, DEPOT_INDEX, index_parse_name, &c->blobs);
	if (r >= 0)
		r = sweep_chunks(c);
	return r;
}

int depot_collect(
	struct depot *d, bool dry_run, uint64_t age_s, struct depot_garbage *ret, struct error *err)
{
	struct collection c = {.depot = d, .err = err, .dry_run = dry_run};
	int r = depot_lock(d, true, err);

	if (r < 0)
		return r;
	c.newest = time(NULL) - (time_t)age_s;
	if (!dry_run)
		depot_clean(d);
	r = mark_and_sweep(&c);
	flock(d->lock_fd, LOCK_UN);
	digest_set_done(&c.blobs);
	digest_set_done(&c.chunks);
	*ret = c.garbage;
	return r;
}

void depot_clean(struct depot *d)
{
	int fd = openat(d->dir_fd, DEPOT_TMP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir) {
		base_close(fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && !str_after(entry->d_name, d->writer))
			unlinkat(fd, entry->d_name, 0);
	closedir(dir);
}
