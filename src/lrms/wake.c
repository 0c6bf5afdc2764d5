#include "lrms/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "lib/path.h"

#define WAKE_FILE "wake"

static int wake_file(const char *directory, char **ret_path)
{
	autofree char *path = path_format("%s/" WAKE_FILE, directory);
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return path ? -errno : -ENOMEM;
	if (ret_path)
		*ret_path = TAKE_PTR(path);
	return fd;
}

int wake_open(const char *directory)
{
	autofree char *path = NULL;
	autoclose int file = wake_file(directory, &path), fd = -1;

	if (file < 0)
		return file;
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0 || inotify_add_watch(fd, path, IN_ATTRIB) < 0)
		return -errno;
	return TAKE_FD(fd);
}

void wake_drain(int fd)
{
	char events[4096];

	while (read(fd, events, sizeof(events)) > 0)
		;
}

void wake_touch(const char *directory)
{
	autoclose int fd = wake_file(directory, NULL);

	/* A touch that fails costs those who wait a second. */
	if (fd >= 0 && futimens(fd, NULL) < 0)
		errno = 0;
}
