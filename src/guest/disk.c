/* The root disk of a VM is a throw-away overlay, so nothing here calls fsync: a crash of the VM
 * takes the file with it in any case. What is replaced is still renamed into place, because other
 * processes of the guest may read it at the same time.
 *
 * A small file that is there is cheaper to overwrite: under emulation a new inode, a new name and
 * the end of the old one take 30 ms in a kernel that has just been cloned, new content 3 ms.
 */
#include "guest/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define DISK_REHEARSE_MAX (1024 * 1024)

/* Reads until `size` bytes or the end: files of /proc come in pieces. */
static ssize_t disk_read_fd(int fd, char *ret, size_t size)
{
	size_t used = 0;
	ssize_t n;

	while (used < size) {
		n = read(fd, ret + used, size - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

ssize_t disk_read(const char *path, char *ret, size_t size)
{
	int fd autoclose = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n;

	ret[0] = '\0';
	if (fd < 0)
		return -errno;
	n = disk_read_fd(fd, ret, size - 1);
	if (n >= 0)
		ret[n] = '\0';
	return n;
}

ssize_t disk_read_line(const char *path, char *ret, size_t size)
{
	ssize_t n = disk_read(path, ret, size);

	if (n < 0)
		return n;
	ret[strcspn(ret, "\n")] = '\0';
	return (ssize_t)strlen(ret);
}

ssize_t disk_load(const char *path, size_t max, char **ret)
{
	int fd autoclose = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char *data autofree = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return -EFBIG;
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		return -ENOMEM;
	n = disk_read_fd(fd, data, (size_t)st.st_size);
	if (n < 0)
		return n;
	data[n] = '\0';
	*ret = TAKE_PTR(data);
	return n;
}

static int disk_write_fd(int fd, const char *data, size_t length)
{
	ssize_t n;

	while (length > 0) {
		n = write(fd, data, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		length -= (size_t)n;
	}
	return 0;
}

static int disk_create(const char *path, int flags, const void *data, size_t length, mode_t mode)
{
	/* The mode that was asked for, not what a mask leaves of it; cheaper than fchmod(2), which
	 * is a change to the file system of its own. */
	mode_t mask = umask(0);
	int fd autoclose = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | flags, mode);
	int r = fd < 0 ? -errno : 0;

	umask(mask);
	return r < 0 ? r : disk_write_fd(fd, data, length);
}

int disk_replace(const char *path, const void *data, size_t length, mode_t mode)
{
	char temporary[PATH_MAX];
	int r;

	r = snprintf(temporary, sizeof(temporary), "%s.wnodes~", path);
	if (r < 0 || (size_t)r >= sizeof(temporary))
		return -ENAMETOOLONG;
	r = disk_create(temporary, O_EXCL | O_NOFOLLOW, data, length, mode);
	/* One of an agent that was killed. */
	if (r == -EEXIST && unlink(temporary) == 0)
		r = disk_create(temporary, O_EXCL | O_NOFOLLOW, data, length, mode);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	return r;
}

/* Opens a file of its own: not one that is a link, or that other names lead to; and gives it `mode`
 * unless that is -1. Returns the descriptor, or negative errno. */
static int disk_open_own(const char *path, int mode, off_t *ret_size)
{
	int fd autoclose = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return -EMLINK;
	if (mode >= 0 && (st.st_mode & 07777) != (mode_t)mode && fchmod(fd, (mode_t)mode) < 0)
		return -errno;
	*ret_size = st.st_size;
	return TAKE_FD(fd);
}

int disk_overwrite(const char *path, const void *data, size_t length, int mode)
{
	off_t size = 0;
	int fd autoclose = disk_open_own(path, mode, &size);
	int r;

	if (fd < 0)
		return fd;
	r = disk_write_fd(fd, data, length);
	if (r == 0 && size > (off_t)length && ftruncate(fd, (off_t)length) < 0)
		r = -errno;
	return r;
}

int disk_update(const char *path, const void *data, size_t length, mode_t mode)
{
	int r = disk_overwrite(path, data, length, (int)mode);

	return r < 0 ? disk_replace(path, data, length, mode) : 0;
}

int disk_rehearse(const char *path, const char *content, mode_t mode)
{
	char *text autofree = NULL;
	ssize_t n = disk_load(path, DISK_REHEARSE_MAX, &text);

	if ((n == 0 || n == -ENOENT) && content)
		return disk_update(path, content, strlen(content), mode);
	return n > 0 && content ? disk_overwrite(path, text, (size_t)n, (int)mode) : 0;
}

int disk_append(const char *path, const void *data, size_t length, mode_t mode)
{
	return disk_create(path, O_APPEND | O_NONBLOCK, data, length, mode);
}

static int disk_make_prefixes(char *path, mode_t mode)
{
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(path, mode) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
			return -errno;
		*p = '/';
	}
	return 0;
}

int disk_make_parents(const char *path, mode_t mode)
{
	char copy[PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(copy))
		return n == 0 ? -ENOENT : -ENAMETOOLONG;
	memcpy(copy, path, n + 1);
	return disk_make_prefixes(copy, mode);
}

int disk_make_dirs(const char *path, mode_t mode)
{
	struct stat st;
	int r;

	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	r = disk_make_parents(path, mode);
	if (r < 0)
		return r;
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

int disk_path(char *ret, size_t size, const char *root, const char *path)
{
	int n = snprintf(ret, size, "%s%s", root, path);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}
