/* Blobs: the store's immutable files, and the notes on when each was last verified.
 *
 * A disk of gigabytes is not hashed for each VM. When its content was verified, its inode's number,
 * size and times are noted; as long as they are the same the content is taken to be. The device is
 * no part of it: its number may change with each boot of the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "image/store_private.h"
#include "lib/file.h"

#define CHECKED_MAX 256
#define BLOB_PATH   (sizeof(STORE_CHECKED "/") + DIGEST_HEX_SIZE)

int blob_open(struct store *s, const char *digest, uint64_t *ret_size)
{
	char path[BLOB_PATH];
	autoclose int fd = -1;
	struct stat st;

	snprintf(path, sizeof(path), STORE_BLOBS "/%s", digest);
	fd = openat(s->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	if (ret_size)
		*ret_size = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

static int note_format(int fd, char note[CHECKED_MAX])
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return snprintf(note, CHECKED_MAX,
		"inode %llu size %llu modified %lld.%09ld changed %lld.%09ld\n",
		(unsigned long long)st.st_ino, (unsigned long long)st.st_size,
		(long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec,
		st.st_ctim.tv_nsec);
}

static void note_path(const char *digest, char path[BLOB_PATH])
{
	snprintf(path, BLOB_PATH, STORE_CHECKED "/%s", digest);
}

bool blob_is_checked(struct store *s, const char *digest, int fd)
{
	char path[BLOB_PATH], note[CHECKED_MAX];
	autofree char *noted = NULL;
	size_t length;

	note_path(digest, path);
	return note_format(fd, note) > 0 &&
	       file_read(s->dir_fd, path, CHECKED_MAX, &noted, &length) == 0 && streq(noted, note);
}

bool blob_is_sound(struct store *s, const struct image_part *part)
{
	uint64_t size;
	autoclose int fd = blob_open(s, part->digest, &size);

	return fd >= 0 && size == part->size && blob_is_checked(s, part->digest, fd);
}

void blob_set_checked(struct store *s, const char *digest, int fd)
{
	char path[BLOB_PATH], note[CHECKED_MAX];
	int length = note_format(fd, note);

	note_path(digest, path);
	if (s->writable && length > 0)
		(void)file_replace(s->dir_fd, path, note, (size_t)length, 0644);
}

void blob_unset_checked(struct store *s, const char *digest)
{
	char path[BLOB_PATH];

	note_path(digest, path);
	if (s->writable)
		unlinkat(s->dir_fd, path, 0);
}

int blob_verify(struct store *s, const char *digest, int fd, struct error *err)
{
	char is[DIGEST_HEX_SIZE];
	int r = digest_file(fd, is);

	if (r < 0)
		return fail_errno(
			err, r, "cannot read '%s/" STORE_BLOBS "/%s'", s->directory, digest);
	if (streq(is, digest)) {
		blob_set_checked(s, digest, fd);
		return 0;
	}
	blob_unset_checked(s, digest);
	return fail(err, -EBADMSG,
		"'%s/" STORE_BLOBS
		"/%s' is damaged: its SHA-256 is %s; build or import the image again",
		s->directory, digest, is);
}
