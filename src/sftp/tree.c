#include "sftp/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The kernel gives up when the tree is renamed under its feet, and may be asked again. */
#define TREE_TRIES 16

static int tree_call(const struct tree *t, const char *path, int flags, mode_t mode)
{
	const struct open_how how = {
		.flags = (unsigned int)flags | O_CLOEXEC | O_NOFOLLOW,
		.mode = flags & O_CREAT ? mode & 07777 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = -1;

	for (int i = 0; i < TREE_TRIES; i++) {
		fd = syscall(SYS_openat2, t->fd, path[0] ? path : ".", &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	/* Whatever leads out is as if it were not there. */
	return fd >= 0 ? (int)fd : errno == EXDEV ? -ENOENT : -errno;
}

int tree_find(const struct tree *t, const char *path)
{
	return tree_call(t, path, O_PATH, 0);
}

/* A device or a pipe is not to be opened at all, as opening one may do something. */
static int tree_check_regular(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? 0 : S_ISDIR(st.st_mode) ? -EISDIR : -EACCES;
}

int tree_open(const struct tree *t, const char *path, int flags, mode_t mode)
{
	autoclose int found = tree_find(t, path), fd = -1;
	int r = found >= 0 ? tree_check_regular(found) : 0;

	if (r < 0)
		return r;
	fd = tree_call(t, path, flags | O_NONBLOCK | O_NOCTTY, mode);
	if (fd < 0)
		return TAKE_FD(fd);
	r = tree_check_regular(fd);
	return r < 0 ? r : TAKE_FD(fd);
}

int tree_open_directory(const struct tree *t, const char *path)
{
	return tree_call(t, path, O_RDONLY | O_DIRECTORY, 0);
}

int tree_open_parent(const struct tree *t, const char *path, struct tree_name *ret)
{
	const char *slash = strrchr(path, '/');
	autofree char *parent = strndup(path, slash ? (size_t)(slash - path) : 0);

	*ret = (struct tree_name){.fd = -1, .name = slash ? slash + 1 : path};
	if (!parent)
		return -ENOMEM;
	if (ret->name[0] == '\0' || streq(ret->name, ".") || streq(ret->name, ".."))
		return -EINVAL;
	ret->fd = slash == path ? -ENOENT : tree_call(t, parent, O_PATH | O_DIRECTORY, 0);
	if (ret->fd >= 0)
		return 0;
	return ret->fd = -1, -ENOENT;
}
