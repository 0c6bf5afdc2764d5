#include "image/partial.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "image/store_private.h"
#include "lib/file.h"

#define NAME_SIZE (sizeof(STORE_PARTIAL "/") + DIGEST_HEX_SIZE + sizeof(STORE_PARTIAL_HAVE))

struct store_partial {
	struct store *store;
	char digest[DIGEST_HEX_SIZE];
	char name[NAME_SIZE], have_name[NAME_SIZE]; /* below the store's directory */
	int fd, have_fd;
};

static int open_file(const struct store_partial *p, const char *name, struct error *err)
{
	struct stat st;
	autoclose int fd = openat(p->store->dir_fd, name,
		O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_errno(err, -errno, "cannot open '%s/%s'", p->store->directory, name);
	if (!S_ISREG(st.st_mode))
		return fail(err, -EINVAL, "'%s/%s' is no file", p->store->directory, name);
	return TAKE_FD(fd);
}

/* Is what we have locked still what has the name? Its last owner may have committed it meanwhile.
 */
static bool is_named(const struct store_partial *p)
{
	struct stat ours, there;

	return fstat(p->have_fd, &ours) == 0 &&
	       fstatat(p->store->dir_fd, p->have_name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

static int partial_lock(struct store_partial *p, struct error *err)
{
	do {
		int r;

		base_close(p->have_fd);
		p->have_fd = open_file(p, p->have_name, err);
		if (p->have_fd < 0)
			return p->have_fd;
		r = file_lock(p->have_fd, true, false);
		if (r == -EWOULDBLOCK)
			return fail(err, r, "another process is fetching this");
		if (r < 0)
			return fail_errno(
				err, r, "cannot lock '%s/%s'", p->store->directory, p->have_name);
	} while (!is_named(p));
	return 0;
}

int store_partial_open(
	struct store *s, const char *digest, struct store_partial **ret, struct error *err)
{
	struct store_partial *p AUTO(store_partial_freep) = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return fail(err, -ENOMEM, "out of memory");
	p->store = s;
	p->fd = p->have_fd = -1;
	snprintf(p->digest, sizeof(p->digest), "%s", digest);
	snprintf(p->name, sizeof(p->name), STORE_PARTIAL "/%s", p->digest);
	snprintf(p->have_name, sizeof(p->have_name), STORE_PARTIAL "/%s" STORE_PARTIAL_HAVE,
		p->digest);
	r = partial_lock(p, err);
	if (r < 0)
		return r;
	p->fd = open_file(p, p->name, err);
	if (p->fd < 0)
		return p->fd;
	/* It counts as worked on, even if nothing comes. */
	futimens(p->have_fd, NULL);
	*ret = TAKE_PTR(p);
	return 0;
}

int store_partial_fd(const struct store_partial *p)
{
	return p->fd;
}

int store_partial_have_fd(const struct store_partial *p)
{
	return p->have_fd;
}

struct store_partial *store_partial_free(struct store_partial *p)
{
	if (!p)
		return NULL;
	base_close(p->fd);
	base_close(p->have_fd);
	free(p);
	return NULL;
}

int store_partial_verify(const struct store_partial *p, uint64_t size, struct error *err)
{
	char is[DIGEST_HEX_SIZE];
	struct stat st;
	int r = fstat(p->fd, &st) < 0 ? -errno : digest_file(p->fd, is);

	if (r < 0)
		return fail_errno(err, r, "cannot read '%s/%s'", p->store->directory, p->name);
	if ((uint64_t)st.st_size != size || !streq(is, p->digest))
		return fail(err, -EBADMSG, "what was fetched as %.12s has the SHA-256 %.12s",
			p->digest, is);
	return 0;
}

static int sync_directory(const struct store *s, const char *name)
{
	autoclose int fd = openat(s->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int publish(struct store_partial *p, struct error *err)
{
	struct store *s = p->store;
	char blob[sizeof(STORE_BLOBS "/") + DIGEST_HEX_SIZE];
	int r;

	snprintf(blob, sizeof(blob), STORE_BLOBS "/%s", p->digest);
	if (fchmod(p->fd, 0444) < 0 || renameat(s->dir_fd, p->name, s->dir_fd, blob) < 0)
		return fail_errno(err, -errno, "cannot make '%s/%s'", s->directory, blob);
	r = sync_directory(s, STORE_BLOBS);
	if (r < 0)
		return fail_errno(err, r, "cannot write '%s/" STORE_BLOBS "'", s->directory);
	blob_set_checked(s, p->digest, p->fd);
	return 0;
}

int store_partial_commit(struct store_partial *p, uint64_t size, struct error *err)
{
	struct image_part part = {.size = size};
	struct stat st;
	int r = fstat(p->fd, &st) < 0 ? -errno : 0;

	if (r == 0 && (uint64_t)st.st_size != size)
		r = -EIO;
	if (r < 0)
		return fail_errno(err, r, "cannot take '%s/%s'", p->store->directory, p->name);
	r = store_hold(p->store, err);
	if (r < 0)
		return r;
	snprintf(part.digest, sizeof(part.digest), "%s", p->digest);
	/* A damaged blob is replaced: VMs that run from it keep the old file open. */
	if (blob_is_sound(p->store, &part))
		unlinkat(p->store->dir_fd, p->name, 0);
	else
		r = publish(p, err);
	if (r == 0)
		unlinkat(p->store->dir_fd, p->have_name, 0);
	return r;
}

void store_partial_drop(struct store *s, const char *digest)
{
	struct store_partial *p AUTO(store_partial_freep) = NULL;
	char name[NAME_SIZE];

	snprintf(name, sizeof(name), STORE_PARTIAL "/%s" STORE_PARTIAL_HAVE, digest);
	if (faccessat(s->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 ||
		store_partial_open(s, digest, &p, NULL) < 0)
		return;
	unlinkat(s->dir_fd, p->name, 0);
	unlinkat(s->dir_fd, p->have_name, 0);
}

int store_peek_partial(struct store *s, const char *digest, int *ret_fd, int *ret_have_fd)
{
	char name[NAME_SIZE];
	autoclose int fd = -1, have_fd = -1;

	snprintf(name, sizeof(name), STORE_PARTIAL "/%s", digest);
	fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	snprintf(name, sizeof(name), STORE_PARTIAL "/%s" STORE_PARTIAL_HAVE, digest);
	have_fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || have_fd < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	*ret_have_fd = TAKE_FD(have_fd);
	return 0;
}

bool store_has_part(struct store *s, const struct image_part *part)
{
	autoclose int fd = store_open_part(s, part, NULL);

	return fd >= 0;
}

int store_put_index(struct store *s, const char *digest, const void *bytes, size_t length)
{
	char name[sizeof(STORE_INDEX "/") + DIGEST_HEX_SIZE];

	snprintf(name, sizeof(name), STORE_INDEX "/%s", digest);
	return file_replace(s->dir_fd, name, bytes, length, 0444);
}

int store_get_index(struct store *s, const char *digest, size_t max, char **ret, size_t *ret_length)
{
	char name[sizeof(STORE_INDEX "/") + DIGEST_HEX_SIZE];

	snprintf(name, sizeof(name), STORE_INDEX "/%s", digest);
	return file_read(s->dir_fd, name, max, ret, ret_length);
}

int store_open_blob(struct store *s, const char *digest)
{
	return blob_open(s, digest, NULL);
}

int store_each_index(
	struct store *s, int (*each)(const char *digest, void *userdata), void *userdata)
{
	int fd = openat(s->dir_fd, STORE_INDEX, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int r = 0;

	if (!directory) {
		r = errno == ENOENT ? 0 : -errno;
		base_close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(directory)))
		if (digest_is_hex(entry->d_name))
			r = each(entry->d_name, userdata);
	closedir(directory);
	return r;
}
