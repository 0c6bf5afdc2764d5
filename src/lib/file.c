#include "lib/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

/* How deep a tree may be that file_remove_tree() takes away: each level holds a descriptor. */
#define TREE_DEPTH_MAX 256

/* Names tried for a temporary file; with 64 random bits a second try means something else. */
#define TEMPORARY_TRIES 16
#define TEMPORARY_MAX   32

/* Reads until `limit` bytes are there or the file ends. Returns the number or negative errno. */
static ssize_t read_up_to(int fd, char *data, size_t limit)
{
	size_t used = 0;

	while (used < limit) {
		ssize_t n = read(fd, data + used, limit - used);

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

/* Files of /proc say that they are empty, so the size is only a first guess. */
static int read_growing(int fd, size_t guess, size_t max, char **ret, size_t *ret_length)
{
	autofree char *data = NULL;
	size_t room = MIN_OF(MAX_OF(guess, (size_t)4095), max) + 1, used = 0;

	for (;;) {
		char *grown = realloc(data, room + 1);
		ssize_t n;

		if (!grown)
			return -ENOMEM;
		data = grown;
		n = read_up_to(fd, data + used, room - used);
		if (n < 0)
			return (int)n;
		used += (size_t)n;
		if (used > max)
			return -EFBIG;
		if (used < room)
			break;
		room = MIN_OF(2 * room, max + 1);
	}
	data[used] = '\0';
	*ret = TAKE_PTR(data);
	if (ret_length)
		*ret_length = used;
	return 0;
}

int file_read(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_length)
{
	autoclose int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) && st.st_size > 0 && (uint64_t)st.st_size > max)
		return -EFBIG;
	return read_growing(fd, S_ISREG(st.st_mode) ? (size_t)st.st_size : 0, max, ret, ret_length);
}

int file_write_all(int fd, const void *data, size_t length)
{
	const char *p = data;

	while (length > 0) {
		ssize_t n = write(fd, p, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		length -= (size_t)n;
	}
	return 0;
}

/* Makes a new file with a name of its own in `dir`. */
static int temporary_make(int dir, mode_t mode, char name[TEMPORARY_MAX])
{
	for (int i = 0; i < TEMPORARY_TRIES; i++) {
		uint64_t number;
		int fd;

		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			return -EIO;
		snprintf(name, TEMPORARY_MAX, ".tmp-%016" PRIx64, number);
		fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
		if (fd >= 0 || errno != EEXIST)
			return fd >= 0 ? fd : -errno;
	}
	return -EEXIST;
}

static int temporary_fill(
	int dir, const char *name, int fd, const void *data, size_t length, const char *final_name)
{
	int r = file_write_all(fd, data, length);

	if (r < 0)
		return r;
	if (fsync(fd) < 0 || renameat(dir, name, dir, final_name) < 0)
		return -errno;
	return 0;
}

/* Opens the directory that holds `path`; *ret_name is its last part. */
static int parent_open(int dir_fd, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	autofree char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd;

	if (!directory)
		return -ENOMEM;
	*ret_name = slash ? slash + 1 : path;
	if (**ret_name == '\0')
		return -EINVAL;
	fd = openat(dir_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int file_replace(int dir_fd, const char *path, const void *data, size_t length, mode_t mode)
{
	char temporary[TEMPORARY_MAX];
	const char *name;
	autoclose int dir = parent_open(dir_fd, path, &name);
	autoclose int fd = -1;
	int r;

	if (dir < 0)
		return dir;
	fd = temporary_make(dir, mode, temporary);
	if (fd < 0)
		return fd;
	r = temporary_fill(dir, temporary, fd, data, length, name);
	if (r < 0) {
		unlinkat(dir, temporary, 0);
		return r;
	}
	return fsync(dir) < 0 ? -errno : 0;
}

int file_replace_soon(const char *path, const void *data, size_t length, mode_t mode)
{
	char fresh[PATH_MAX];
	autoclose int fd = -1;
	int r;

	if ((size_t)snprintf(fresh, sizeof(fresh), "%s.new", path) >= sizeof(fresh))
		return -ENAMETOOLONG;
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	r = fd < 0 ? -errno : file_write_all(fd, data, length);
	if (r == 0 && rename(fresh, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(fresh);
	return r;
}

/* An existing directory is what was asked for, whatever mkdir() says about it: on some file systems
 * that is EACCES or EROFS. */
static int directory_make(const char *path, mode_t mode)
{
	struct stat st;
	int error;

	if (mkdir(path, mode) == 0)
		return 0;
	error = errno;
	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	return -error;
}

int file_make_dirs(const char *path, mode_t mode)
{
	autofree char *part = strdup(path);
	int r = 0;

	if (!part)
		return -ENOMEM;
	for (char *p = part; *p && r >= 0; p++) {
		if (*p != '/' || p == part || p[-1] == '/')
			continue;
		*p = '\0';
		r = directory_make(part, mode);
		*p = '/';
	}
	return r < 0 ? r : directory_make(part, mode);
}

static int tree_remove(int dir_fd, const char *name, int depth);

static int tree_remove_content(DIR *dir, int depth)
{
	for (;;) {
		const struct dirent *entry;
		int r;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return -errno;
		if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
			continue;
		r = tree_remove(dirfd(dir), entry->d_name, depth + 1);
		if (r < 0)
			return r;
	}
}

static int tree_remove_directory(int dir_fd, const char *name, int depth)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	DIR *dir;
	int r;

	if (fd < 0)
		return -errno;
	/* A directory may be read-only to its owner too, as caches of build tools are. */
	if (fstat(fd, &st) == 0 && (st.st_mode & S_IRWXU) != S_IRWXU && fchmod(fd, S_IRWXU) < 0) {
		base_close(fd);
		return -errno;
	}
	dir = fdopendir(fd);
	if (!dir) {
		base_close(fd);
		return -ENOMEM;
	}
	r = tree_remove_content(dir, depth);
	closedir(dir);
	if (r < 0)
		return r;
	return unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static int tree_remove(int dir_fd, const char *name, int depth)
{
	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return -errno;
	if (depth >= TREE_DEPTH_MAX)
		return -ELOOP;
	return tree_remove_directory(dir_fd, name, depth);
}

int file_remove_tree(int dir_fd, const char *path)
{
	return tree_remove(dir_fd, path, 0);
}

int file_open_temporary(const char *directory)
{
	int dir, fd = open(directory, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	char name[TEMPORARY_MAX];

	if (fd >= 0)
		return fd;
	/* EISDIR is what kernels say that do not know O_TMPFILE. */
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	fd = temporary_make(dir, 0600, name);
	if (fd >= 0)
		unlinkat(dir, name, 0);
	base_close(dir);
	return fd;
}

int file_lock(int fd, bool exclusive, bool wait)
{
	int r;

	do
		r = flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB));
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int file_set_nonblocking(int fd, bool nonblocking)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int file_open_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}
