/* Uploads: files on their way into the store.
 *
 * An upload is locked from its creation, so that the garbage collector can tell a file that is
 * being written from one whose writer is gone. The store's own lock is held only for the two short
 * moments in which that is not enough: the creation, and from the commit until the blob has a name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "image/store_private.h"
#include "lib/file.h"
#include "lib/path.h"

struct store_upload {
	struct store *store;
	int fd;
	char *path;
	bool committed;
};

static int upload_create(struct store_upload *u, struct error *err)
{
	u->path = path_format("%s/" STORE_TMP "/upload-XXXXXX", u->store->directory);
	if (!u->path)
		return fail(err, -ENOMEM, "out of memory");
	u->fd = mkostemp(u->path, O_CLOEXEC);
	if (u->fd < 0) {
		int r = fail_errno(
			err, -errno, "cannot write to '%s/" STORE_TMP "'", u->store->directory);

		free(TAKE_PTR(u->path));
		return r;
	}
	return file_lock(u->fd, true, false);
}

int store_upload_open(struct store *s, struct store_upload **ret, struct error *err)
{
	struct store_upload *u AUTO(store_upload_freep) = calloc(1, sizeof(*u));
	bool was_held = s->held;
	int r;

	if (!u)
		return fail(err, -ENOMEM, "out of memory");
	u->store = s;
	u->fd = -1;
	r = store_hold(s, err);
	if (r < 0)
		return r;
	r = upload_create(u, err);
	if (!was_held)
		store_release(s);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(u);
	return 0;
}

int store_upload_fd(const struct store_upload *u)
{
	return u->fd;
}

const char *store_upload_path(const struct store_upload *u)
{
	return u->path;
}

struct store_upload *store_upload_free(struct store_upload *u)
{
	if (!u)
		return NULL;
	if (u->path && !u->committed)
		unlink(u->path);
	base_close(u->fd);
	free(u->path);
	free(u);
	return NULL;
}

/* A program that was given the path may have put another file in our place. */
static int upload_check(const struct store_upload *u, uint64_t *ret_size, struct error *err)
{
	struct stat ours, there;

	if (fstat(u->fd, &ours) < 0 || lstat(u->path, &there) < 0)
		return fail_errno(err, -errno, "cannot look at '%s'", u->path);
	if (ours.st_ino != there.st_ino || ours.st_dev != there.st_dev)
		return fail(err, -EIO, "'%s' was replaced while it was written", u->path);
	*ret_size = (uint64_t)ours.st_size;
	return 0;
}

static int upload_publish(struct store_upload *u, const struct image_part *part, struct error *err)
{
	struct store *s = u->store;
	autofree char *path = path_format("%s/" STORE_BLOBS "/%s", s->directory, part->digest);
	autoclose int dir_fd = openat(s->dir_fd, STORE_BLOBS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	if (fchmod(u->fd, 0444) < 0 || rename(u->path, path) < 0)
		return fail_errno(err, -errno, "cannot make '%s'", path);
	u->committed = true;
	if (dir_fd < 0 || fsync(dir_fd) < 0)
		return fail_errno(err, -errno, "cannot write '%s/" STORE_BLOBS "'", s->directory);
	blob_set_checked(s, part->digest, u->fd);
	return 0;
}

int store_upload_commit(struct store_upload *u, struct image_part *ret, struct error *err)
{
	int r = upload_check(u, &ret->size, err);

	if (r < 0)
		return r;
	if (fsync(u->fd) < 0)
		return fail_errno(err, -errno, "cannot write '%s'", u->path);
	r = digest_file(u->fd, ret->digest);
	if (r < 0)
		return fail_errno(err, r, "cannot read '%s'", u->path);
	r = store_hold(u->store, err);
	if (r < 0)
		return r;
	/* A damaged blob is replaced: VMs that run from it keep the old file open. */
	return blob_is_sound(u->store, ret) ? 0 : upload_publish(u, ret, err);
}
