#include "image/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "lib/file.h"

int tree_open(int root_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int tree_read(int root_fd, const char *path, size_t max, char **ret, size_t *ret_length)
{
	autoclose int fd = tree_open(root_fd, path, O_RDONLY | O_NONBLOCK);
	char self[32];

	if (fd < 0)
		return fd;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return file_read(AT_FDCWD, self, max, ret, ret_length);
}
