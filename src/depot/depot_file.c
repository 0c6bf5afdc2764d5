/* Indexes and manifests of a depot: what makes of chunks a file, and of files an image. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "depot/depot_private.h"
#include "lib/file.h"

#define INDEX_PATH    DEPOT_INDEX "/%s.caibx"
#define MANIFEST_PATH DEPOT_MANIFEST "/%s.json"

static int open_file(const struct depot *d, const char *path)
{
	int fd = openat(d->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

int depot_open_index(const struct depot *d, const char *blob)
{
	char path[DEPOT_PATH_SIZE];

	if (!digest_is_hex(blob))
		return -ENOENT;
	snprintf(path, sizeof(path), INDEX_PATH, blob);
	return open_file(d, path);
}

int depot_open_manifest(const struct depot *d, const char *digest)
{
	char path[DEPOT_PATH_SIZE];

	if (!digest_is_hex(digest))
		return -ENOENT;
	snprintf(path, sizeof(path), MANIFEST_PATH, digest);
	return open_file(d, path);
}

/* Reads a file, which must have this SHA-256 (NULL: any). */
static int read_file(const struct depot *d, const char *path, size_t max, const char *must,
	char **ret, size_t *ret_length, char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	autofree char *text = NULL;
	size_t length = 0;
	int r = file_read(d->dir_fd, path, max, &text, &length);

	if (r < 0)
		return fail_errno(err, r, "cannot read '%s/%s'", d->directory, path);
	r = digest_bytes(text, length, ret_digest);
	if (r < 0)
		return fail_errno(err, r, "cannot hash '%s/%s'", d->directory, path);
	if (must && !streq(must, ret_digest))
		return fail(err, -EBADMSG, "'%s/%s' is damaged: its SHA-256 is %s instead of %s",
			d->directory, path, ret_digest, must);
	*ret = TAKE_PTR(text);
	*ret_length = length;
	return 0;
}

int depot_get_index(const struct depot *d, const char *blob, const char *index, struct caibx **ret,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	char path[DEPOT_PATH_SIZE], is[DIGEST_HEX_SIZE];
	autofree char *bytes = NULL;
	size_t length;
	int r;

	if (!digest_is_hex(blob))
		return fail(err, -ENOENT, "no index of '%s'", blob);
	snprintf(path, sizeof(path), INDEX_PATH, blob);
	r = read_file(d, path, CAIBX_BYTES_MAX, index, &bytes, &length, is, err);
	if (r < 0)
		return r;
	r = caibx_parse(bytes, length, ret, err);
	if (r < 0)
		return fail_within(err, "'%s/%s'", d->directory, path);
	if (ret_digest)
		memcpy(ret_digest, is, sizeof(is));
	return 0;
}

int depot_check_index(const struct depot *d, const struct caibx *x, struct error *err)
{
	for (size_t i = 0; i < x->count; i++) {
		char path[CHUNK_PATH_SIZE];

		if (i > 0 && memcmp(x->chunks[i].id, x->chunks[i - 1].id, CHUNK_ID_SIZE) == 0)
			continue;
		if (depot_has_named_chunk(d, x->chunks[i].id))
			continue;
		chunk_format_path(x->chunks[i].id, path);
		return fail(err, -ENOENT, "chunk %zu, '%s/" DEPOT_CHUNKS "/%s', is not there", i,
			d->directory, path);
	}
	return 0;
}

bool depot_has_index(
	const struct depot *d, const char *blob, uint64_t size, char ret_digest[DIGEST_HEX_SIZE])
{
	struct caibx *x AUTO(caibx_freep) = NULL;

	return depot_get_index(d, blob, NULL, &x, ret_digest, NULL) == 0 && x->size == size &&
	       depot_check_index(d, x, NULL) == 0;
}

int depot_put_index(struct depot *d, const char *blob, const void *bytes, size_t length,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct caibx *x AUTO(caibx_freep) = NULL;
	char path[DEPOT_PATH_SIZE];
	int r;

	if (!digest_is_hex(blob))
		return fail(err, -EINVAL, "'%s' is no SHA-256", blob);
	r = caibx_parse(bytes, length, &x, err);
	if (r >= 0)
		r = depot_commit(d, err);
	if (r >= 0)
		r = depot_check_index(d, x, err);
	if (r < 0)
		return r;
	if (depot_has_index(d, blob, x->size, ret_digest))
		return 0;
	r = digest_bytes(bytes, length, ret_digest);
	if (r < 0)
		return fail_errno(err, r, "cannot hash the index");
	snprintf(path, sizeof(path), INDEX_PATH, blob);
	return depot_write(d, path, bytes, length, err);
}

int depot_get_manifest(const struct depot *d, const char *digest, struct manifest **ret,
	char **ret_text, struct error *err)
{
	char path[DEPOT_PATH_SIZE], is[DIGEST_HEX_SIZE];
	autofree char *text = NULL;
	size_t length;
	int r;

	if (!digest_is_hex(digest))
		return fail(err, -ENOENT, "no image '%s'", digest);
	snprintf(path, sizeof(path), MANIFEST_PATH, digest);
	r = read_file(d, path, MANIFEST_BYTES_MAX, digest, &text, &length, is, err);
	if (r >= 0)
		r = manifest_parse(text, length, ret, err);
	if (r >= 0 && ret_text)
		*ret_text = TAKE_PTR(text);
	return r;
}

static int check_part(const struct depot *d, const struct image_part *part, struct error *err)
{
	struct caibx *x AUTO(caibx_freep) = NULL;
	int r = depot_get_index(d, part->digest, NULL, &x, NULL, err);

	if (r >= 0 && x->size != part->size)
		r = fail(err, -EBADMSG, "the index of %s is of %llu bytes instead of %llu",
			part->digest, (unsigned long long)x->size, (unsigned long long)part->size);
	return r < 0 ? r : depot_check_index(d, x, err);
}

int depot_put_manifest(struct depot *d, const char *text, size_t length,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct manifest *m AUTO(manifest_freep) = NULL, *there AUTO(manifest_freep) = NULL;
	char path[DEPOT_PATH_SIZE];
	int r = manifest_parse(text, length, &m, err);

	for (size_t i = 0; r >= 0 && i < m->part_count; i++)
		r = check_part(d, &m->parts[i], err);
	if (r >= 0 && digest_bytes(text, length, ret_digest) < 0)
		r = fail(err, -EIO, "cannot hash the manifest");
	if (r < 0 || depot_get_manifest(d, ret_digest, &there, NULL, NULL) == 0)
		return r;
	if (syncfs(d->dir_fd) < 0) /* names of chunks */
		return depot_fail_write(d, -errno, DEPOT_CHUNKS, err);
	snprintf(path, sizeof(path), MANIFEST_PATH, ret_digest);
	return depot_write(d, path, text, length, err);
}

/* Is it "<digest>.json"? Cuts the ending off. */
static bool is_manifest_name(char *name)
{
	char *end = strchr(name, '.');

	if (!end || !streq(end, ".json"))
		return false;
	*end = '\0';
	return digest_is_hex(name);
}

static int select_manifest(const struct dirent *entry)
{
	char name[sizeof(entry->d_name)];

	snprintf(name, sizeof(name), "%s", entry->d_name);
	return is_manifest_name(name);
}

int depot_list(const struct depot *d, int (*each)(const char *digest, void *userdata),
	void *userdata, struct error *err)
{
	struct dirent **entries = NULL;
	int count = scandirat(d->dir_fd, DEPOT_MANIFEST, &entries, select_manifest, alphasort);
	int r = 0;

	if (count < 0)
		return fail_errno(err, -errno, "cannot read '%s/" DEPOT_MANIFEST "'", d->directory);
	for (int i = 0; i < count; i++) {
		if (r == 0 && is_manifest_name(entries[i]->d_name))
			r = each(entries[i]->d_name, userdata);
		free(entries[i]);
	}
	free(entries);
	return r;
}

int depot_remove(struct depot *d, const char *digest, struct error *err)
{
	char path[DEPOT_PATH_SIZE];
	autoclose int dir_fd = -1;

	if (!digest_is_hex(digest))
		return fail(err, -ENOENT, "no image '%s'", digest);
	snprintf(path, sizeof(path), MANIFEST_PATH, digest);
	if (unlinkat(d->dir_fd, path, 0) < 0)
		return errno == ENOENT ? fail(err, -ENOENT, "the depot '%s' has no image %s",
						 d->directory, digest)
				       : fail_errno(err, -errno, "cannot remove '%s/%s'",
						 d->directory, path);
	dir_fd = openat(d->dir_fd, DEPOT_MANIFEST, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || fsync(dir_fd) < 0)
		return fail_errno(
			err, -errno, "cannot write '%s/" DEPOT_MANIFEST "'", d->directory);
	return 0;
}
