/* Images that are kept without a tag: a node's daemon has fetched them, and lets them go when they
 * were not used for long. The file kept/<digest> is empty; its time is that of the last use. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "image/store_private.h"
#include "lib/file.h"
#include "lib/path.h"

#define KEPT_PATH (sizeof(STORE_KEPT "/") + DIGEST_HEX_SIZE)

static void kept_path(const char *digest, char path[KEPT_PATH])
{
	snprintf(path, KEPT_PATH, STORE_KEPT "/%.64s", digest);
}

int store_keep(struct store *s, const char *digest, struct error *err)
{
	char path[KEPT_PATH];
	int r = 0;

	kept_path(digest, path);
	if (mkdirat(s->dir_fd, STORE_KEPT, 0755) < 0 && errno != EEXIST)
		r = -errno;
	if (r == 0)
		r = file_replace(s->dir_fd, path, "", 0, 0644);
	return r < 0 ? fail_errno(err, r, "cannot write '%s/%s'", s->directory, path) : 0;
}

int store_unkeep(struct store *s, const char *digest, struct error *err)
{
	char path[KEPT_PATH];

	kept_path(digest, path);
	if (unlinkat(s->dir_fd, path, 0) == 0 || errno == ENOENT)
		return 0;
	return fail_errno(err, -errno, "cannot remove '%s/%s'", s->directory, path);
}

bool store_is_kept(struct store *s, const char *digest)
{
	char path[KEPT_PATH];

	kept_path(digest, path);
	return digest_is_hex(digest) && faccessat(s->dir_fd, path, F_OK, 0) == 0;
}

void store_note_use(struct store *s, const char *digest)
{
	char path[KEPT_PATH];

	kept_path(digest, path);
	if (digest_is_hex(digest))
		utimensat(s->dir_fd, path, NULL, AT_SYMLINK_NOFOLLOW); /* there may be none */
}

static int is_digest(const struct dirent *entry)
{
	return digest_is_hex(entry->d_name);
}

int store_each_kept(struct store *s, kept_fn each, void *userdata, struct error *err)
{
	struct dirent **list = NULL;
	int n = scandirat(s->dir_fd, STORE_KEPT, &list, is_digest, alphasort), r = 0;

	if (n < 0 && errno != ENOENT)
		return fail_errno(err, -errno, "cannot list '%s/" STORE_KEPT "'", s->directory);
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = each(s, list[i]->d_name, userdata, err);
		free(list[i]);
	}
	free(list);
	return r;
}

static void fill_blobs(struct store *s, struct kept_image *k)
{
	struct stat st;
	uint64_t size;

	for (size_t i = 0; i < k->manifest->part_count; i++) {
		autoclose int fd = blob_open(s, k->manifest->parts[i].digest, &size);

		if (fd >= 0 && fstat(fd, &st) == 0)
			k->part_bytes[i] = (uint64_t)st.st_blocks * 512;
	}
}

struct lister {
	int (*each)(const struct kept_image *image, void *userdata);
	void *userdata;
};

static int list_kept(struct store *s, const char *digest, void *userdata, struct error *err)
{
	const struct lister *l = userdata;
	struct manifest *manifest AUTO(manifest_freep) = NULL;
	struct kept_image k = {.digest = digest};
	char path[KEPT_PATH];
	struct stat st;

	kept_path(digest, path);
	/* One that cannot be read is none: the garbage collector removes it. */
	if (fstatat(s->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		store_load_manifest(s, digest, &manifest, NULL) < 0)
		return 0;
	k.used_us = (uint64_t)st.st_mtim.tv_sec * 1000000 + (uint64_t)st.st_mtim.tv_nsec / 1000;
	k.manifest = manifest;
	fill_blobs(s, &k);
	return l->each(&k, l->userdata);
}

int store_list_kept(struct store *s, int (*each)(const struct kept_image *image, void *userdata),
	void *userdata, struct error *err)
{
	struct lister l = {.each = each, .userdata = userdata};

	return store_each_kept(s, list_kept, &l, err);
}
