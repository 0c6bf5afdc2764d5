/* FILE_WRITE and FILE_READ: small files, for what has no call of its own. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "guest/call.h"
#include "guest/disk.h"
#include "guest/guest.h"

static int path_check(const char *path, struct error *err)
{
	return path[0] == '/' ? 0 : fail(err, -EINVAL, "'%s' is not an absolute path", path);
}

static int write_do(const char *path, const struct file_write *x)
{
	int r = disk_make_parents(path, 0755);

	if (r == 0 && x->append)
		r = disk_append(path, x->data.data, x->data.length, x->mode & 07777);
	else if (r == 0)
		r = disk_replace(path, x->data.data, x->data.length, x->mode & 07777);
	if (r == 0 && !x->append && chown(path, x->uid, x->gid) < 0)
		r = -errno;
	return r;
}

int file_write_on_call(const struct call *c)
{
	const struct file_write *x = c->message;
	char path[PATH_MAX];
	int r = path_check(x->path, c->err);

	if (r == 0)
		r = disk_path(path, sizeof(path), c->guest->root, x->path);
	if (r == 0)
		r = write_do(path, x);
	return r < 0 && c->err->code == 0 ? fail_errno(c->err, r, "cannot write '%s'", x->path) : r;
}

/* Only regular files: reading a pipe or a device could wait for ever. */
static int read_do(const char *path, const struct file_read *x, struct buffer *body)
{
	int fd autoclose = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t max = MIN_OF(x->max, (uint32_t)FRAME_DATA_MAX);
	struct stat st;
	uint8_t *room;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (x->offset > INT64_MAX)
		return -EINVAL;
	room = buffer_reserve(body, max);
	if (!room)
		return -ENOMEM;
	n = pread(fd, room, max, (off_t)x->offset);
	if (n < 0)
		return -errno;
	buffer_commit(body, (size_t)n);
	return 0;
}

int file_read_on_call(const struct call *c)
{
	const struct file_read *x = c->message;
	char path[PATH_MAX];
	int r = path_check(x->path, c->err);

	if (r == 0)
		r = disk_path(path, sizeof(path), c->guest->root, x->path);
	if (r == 0)
		r = read_do(path, x, c->body);
	return r < 0 && c->err->code == 0 ? fail_errno(c->err, r, "cannot read '%s'", x->path) : r;
}
