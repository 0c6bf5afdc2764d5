#include "image/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "image/store_private.h"
#include "lib/file.h"
#include "lib/path.h"

#define STORE_LOCK_POLL_MS 50

static int make_directories(struct store *s, struct error *err)
{
	static const char *const names[] = {
		STORE_BLOBS, STORE_NAMES, STORE_CHECKED, STORE_TMP, STORE_PARTIAL, STORE_INDEX};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (mkdirat(s->dir_fd, names[i], 0755) < 0 && errno != EEXIST)
			return fail_errno(
				err, -errno, "cannot make '%s/%s'", s->directory, names[i]);
	s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (s->lock_fd < 0)
		return fail_errno(err, -errno, "cannot open '%s/lock'", s->directory);
	return 0;
}

int store_open(const char *directory, bool writable, struct store **ret, struct error *err)
{
	struct store *s AUTO(store_freep) = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return fail(err, -ENOMEM, "out of memory");
	s->dir_fd = s->lock_fd = -1;
	s->writable = writable;
	s->directory = strdup(directory);
	if (!s->directory)
		return fail(err, -ENOMEM, "out of memory");
	r = writable ? file_make_dirs(directory, 0755) : 0;
	if (r < 0)
		return fail_errno(err, r, "cannot make the image store '%s'", directory);
	s->dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return fail_errno(err, -errno, "cannot open the image store '%s'", directory);
	r = writable ? make_directories(s, err) : 0;
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct store *store_free(struct store *s)
{
	if (!s)
		return NULL;
	base_close(s->dir_fd);
	base_close(s->lock_fd);
	free(s->directory);
	free(s);
	return NULL;
}

const char *store_directory(const struct store *s)
{
	return s->directory;
}

struct image *image_free(struct image *i)
{
	if (!i)
		return NULL;
	free(i->name);
	free(i->tag);
	manifest_free(i->manifest);
	free(i);
	return NULL;
}

int store_lock(struct store *s, bool exclusive, struct error *err)
{
	const struct timespec pause = {.tv_nsec = STORE_LOCK_POLL_MS * 1000000L};
	int r;

	if (!s->writable)
		return fail(err, -EROFS, "the image store '%s' was opened read-only", s->directory);
	for (int waited_ms = 0;; waited_ms += STORE_LOCK_POLL_MS) {
		r = file_lock(s->lock_fd, exclusive, false);
		if (r != -EWOULDBLOCK || waited_ms >= STORE_LOCK_TIMEOUT_MS)
			break;
		nanosleep(&pause, NULL);
	}
	if (r == -EWOULDBLOCK)
		return fail(err, -EBUSY,
			"the image store '%s' is in use by another process; try again later",
			s->directory);
	return r < 0 ? fail_errno(err, r, "cannot lock the image store '%s'", s->directory) : 0;
}

int store_hold(struct store *s, struct error *err)
{
	int r;

	if (s->held)
		return 0;
	store_collect_temporary(s); /* so that an import that was interrupted costs no room */
	r = store_lock(s, false, err);
	s->held = r == 0;
	return r;
}

void store_release(struct store *s)
{
	if (s->lock_fd >= 0)
		flock(s->lock_fd, LOCK_UN);
	s->held = false;
}

int store_get_manifest(
	struct store *s, const char *digest, char **ret_text, size_t *ret_length, struct error *err)
{
	autofree char *path = path_format(STORE_BLOBS "/%s", digest);
	char is[DIGEST_HEX_SIZE];
	autofree char *json = NULL;
	size_t length;
	int r = path ? file_read(s->dir_fd, path, MANIFEST_BYTES_MAX, &json, &length) : -ENOMEM;

	if (r < 0)
		return fail_errno(err, r, "cannot read the manifest '%s/%s'", s->directory, path);
	r = digest_bytes(json, length, is);
	if (r < 0)
		return fail_errno(err, r, "cannot hash the manifest '%s/%s'", s->directory, path);
	if (!streq(is, digest))
		return fail(err, -EBADMSG, "the manifest '%s/%s' is damaged: its SHA-256 is %s",
			s->directory, path, is);
	*ret_text = TAKE_PTR(json);
	*ret_length = length;
	return 0;
}

int store_load_manifest(
	struct store *s, const char *digest, struct manifest **ret, struct error *err)
{
	autofree char *json = NULL;
	size_t length;
	int r = store_get_manifest(s, digest, &json, &length, err);

	return r < 0 ? r : manifest_parse(json, length, ret, err);
}

/* Before a manifest goes in, what it names must be there. */
static int check_parts(struct store *s, const struct manifest *m, struct error *err)
{
	for (size_t i = 0; i < m->part_count; i++) {
		uint64_t size = 0;
		autoclose int fd = blob_open(s, m->parts[i].digest, &size);

		if (fd < 0)
			return fail_errno(err, fd, "the image's part %s is not in the store",
				m->parts[i].digest);
		if (size != m->parts[i].size)
			return fail(err, -EINVAL, "the image's part %s has another size",
				m->parts[i].digest);
	}
	return 0;
}

/* A manifest that could not be read back must never get in. */
static int add_manifest(
	struct store *s, const char *json, size_t length, struct image_part *ret, struct error *err)
{
	struct store_upload *upload AUTO(store_upload_freep) = NULL;
	struct manifest *m AUTO(manifest_freep) = NULL;
	int r = manifest_parse(json, length, &m, err);

	if (r >= 0)
		r = check_parts(s, m, err);
	if (r >= 0)
		r = store_upload_open(s, &upload, err);
	if (r < 0)
		return r;
	r = file_write_all(store_upload_fd(upload), json, length);
	if (r < 0)
		return fail_errno(err, r, "cannot write '%s'", store_upload_path(upload));
	return store_upload_commit(upload, ret, err);
}

static int add_and_tag(struct store *s, const char *json, size_t length, const char *name,
	const char *tag, char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct image_part part;
	int r = store_hold(s, err);

	if (r >= 0)
		r = add_manifest(s, json, length, &part, err);
	if (r >= 0)
		r = store_tag(s, part.digest, name, tag, err);
	store_release(s);
	if (r >= 0)
		memcpy(ret_digest, part.digest, DIGEST_HEX_SIZE);
	return r;
}

int store_add(struct store *s, const struct manifest *m, const char *name, const char *tag,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	autofree char *json = manifest_format(m);

	return json ? add_and_tag(s, json, strlen(json), name, tag, ret_digest, err)
		    : fail(err, -ENOMEM, "out of memory");
}

int store_add_published(struct store *s, const char *json, size_t length, const char *digest,
	const char *name, const char *tag, struct error *err)
{
	char is[DIGEST_HEX_SIZE];
	int r = digest_bytes(json, length, is);

	if (r < 0)
		return fail_errno(err, r, "cannot hash the manifest");
	if (!streq(is, digest))
		return fail(
			err, -EBADMSG, "the manifest of %.12s has the SHA-256 %.12s", digest, is);
	return add_and_tag(s, json, length, name, tag, is, err);
}

int store_open_part(struct store *s, const struct image_part *part, struct error *err)
{
	uint64_t size = 0;
	autoclose int fd = blob_open(s, part->digest, &size);
	int r;

	if (fd < 0)
		return fail_errno(
			err, fd, "cannot open '%s/" STORE_BLOBS "/%s'", s->directory, part->digest);
	if (size != part->size)
		return fail(err, -EBADMSG,
			"'%s/" STORE_BLOBS "/%s' is damaged: it has %llu bytes instead of %llu;"
			" build or import the image again",
			s->directory, part->digest, (unsigned long long)size,
			(unsigned long long)part->size);
	r = blob_is_checked(s, part->digest, fd) ? 0 : blob_verify(s, part->digest, fd, err);
	return r < 0 ? r : TAKE_FD(fd);
}

int store_verify(struct store *s, const struct image *image, struct error *err)
{
	struct manifest *m AUTO(manifest_freep) = NULL;
	int r = store_load_manifest(s, image->digest, &m, err);

	for (size_t i = 0; r >= 0 && i < m->part_count; i++) {
		autoclose int fd = blob_open(s, m->parts[i].digest, NULL);

		if (fd < 0)
			return fail_errno(err, fd == -ENOENT ? -EBADMSG : fd,
				"'%s/" STORE_BLOBS "/%s' cannot be opened", s->directory,
				m->parts[i].digest);
		r = blob_verify(s, m->parts[i].digest, fd, err);
	}
	return r;
}
