/* Taking in an image whose parts others have written: a node's daemon has them fetched.
 *
 * A part is ready when its name is <sha256>.ready: then nobody writes to it any more, its content
 * was hashed, and it is on the disk. Only with all parts there does the image become one, so that
 * no half of it can ever be started. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "image/store_private.h"
#include "lib/file.h"
#include "lib/path.h"

static int open_ready(
	int dir_fd, const char *name, const struct image_part *part, int *ret, struct error *err)
{
	autoclose int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_errno(err, -errno, "the image's part %.12s is not there", part->digest);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != part->size)
		return fail(err, -EBADMSG, "the image's part %.12s has %llu bytes instead of %llu",
			part->digest, (unsigned long long)st.st_size,
			(unsigned long long)part->size);
	*ret = TAKE_FD(fd);
	return 0;
}

/* One that is there already, and sound, only has to be readable for who may. */
static int take_blob(struct store *s, const struct image_part *part, mode_t mode)
{
	uint64_t size;
	autoclose int fd = blob_open(s, part->digest, &size);
	struct stat st;

	if (fd < 0 || size != part->size || !blob_is_checked(s, part->digest, fd))
		return -ENOENT;
	if (fstat(fd, &st) == 0 && (mode & ~st.st_mode & 0444) && fchmod(fd, mode) == 0)
		blob_set_checked(s, part->digest, fd);
	return 0;
}

static int adopt_part(
	struct store *s, int dir_fd, const struct image_part *part, mode_t mode, struct error *err)
{
	autofree char *ready = path_format("%s" STORE_READY, part->digest);
	autofree char *blob = path_format(STORE_BLOBS "/%s", part->digest);
	autoclose int fd = -1;
	int r;

	if (!ready || !blob)
		return fail(err, -ENOMEM, "out of memory");
	if (take_blob(s, part, mode) == 0)
		return 0;
	r = open_ready(dir_fd, ready, part, &fd, err);
	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0 || renameat(dir_fd, ready, s->dir_fd, blob) < 0)
		return fail_errno(err, -errno, "cannot make '%s/%s'", s->directory, blob);
	blob_set_checked(s, part->digest, fd);
	return 0;
}

static int sync_blobs(struct store *s, struct error *err)
{
	autoclose int fd = openat(s->dir_fd, STORE_BLOBS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0
		       ? fail_errno(err, -errno, "cannot write '%s/" STORE_BLOBS "'", s->directory)
		       : 0;
}

static int add_text(
	struct store *s, const char *digest, const char *text, size_t length, struct error *err)
{
	struct store_upload *upload AUTO(store_upload_freep) = NULL;
	struct image_part part;
	int r = store_upload_open(s, &upload, err);

	if (r < 0)
		return r;
	r = file_write_all(store_upload_fd(upload), text, length);
	if (r < 0)
		return fail_errno(err, r, "cannot write '%s'", store_upload_path(upload));
	r = store_upload_commit(upload, &part, err);
	if (r == 0 && !streq(part.digest, digest))
		r = fail(err, -EBADMSG, "the manifest is not that of the image %.12s", digest);
	return r;
}

static int adopt_all(struct store *s, const char *digest, const struct manifest *m,
	const char *directory, mode_t mode, struct error *err)
{
	autoclose int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir_fd < 0 ? fail_errno(err, -errno, "cannot open '%s'", directory) : 0;

	/* QEMU opens kernel and initrd by itself, with its user's rights. */
	for (size_t i = 0; i < m->part_count && r == 0; i++)
		r = adopt_part(
			s, dir_fd, &m->parts[i], m->parts[i].kind == IMAGE_DISK ? mode : 0444, err);
	if (r == 0)
		r = sync_blobs(s, err);
	return r == 0 ? store_keep(s, digest, err) : r;
}

int store_adopt(struct store *s, const char *digest, const char *text, size_t length,
	const char *directory, mode_t mode, struct error *err)
{
	struct manifest *m AUTO(manifest_freep) = NULL;
	char is[DIGEST_HEX_SIZE];
	int r = digest_bytes(text, length, is);

	if (r == 0 && !streq(is, digest))
		r = fail(err, -EBADMSG, "the manifest is not that of the image %.12s", digest);
	if (r == 0)
		r = manifest_parse(text, length, &m, err);
	if (r == 0)
		r = store_hold(s, err); /* until all has a name */
	if (r == 0)
		r = add_text(s, digest, text, length, err);
	if (r == 0)
		r = adopt_all(s, digest, m, directory, mode, err);
	store_release(s);
	return r;
}
