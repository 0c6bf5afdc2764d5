#include "guest/port.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "guest/disk.h"

#define PORT_DIRECTORY "/sys/class/virtio-ports"

/* The next port and its name; NULL at the end. */
static const char *port_next(DIR *dir, char name[PORT_NAME_SIZE])
{
	char path[PATH_MAX];
	struct dirent *e;

	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), PORT_DIRECTORY "/%s/name", e->d_name);
		if (disk_read_line(path, name, PORT_NAME_SIZE) > 0)
			return e->d_name;
	}
	return NULL;
}

int port_find(const char *name, char *ret, size_t size)
{
	DIR *dir = opendir(PORT_DIRECTORY);
	char found[PORT_NAME_SIZE];
	const char *device;
	int r = -ENOENT;

	if (!dir)
		return -ENOENT;
	while (r < 0 && (device = port_next(dir, found)))
		if (streq(found, name) && (size_t)snprintf(ret, size, "/dev/%s", device) < size)
			r = 0;
	closedir(dir);
	return r;
}

size_t port_list(const char *prefix, char (*ret)[PORT_NAME_SIZE], size_t max)
{
	DIR *dir = opendir(PORT_DIRECTORY);
	size_t n = 0;

	while (dir && n < max && port_next(dir, ret[n]))
		n += str_after(ret[n], prefix) != NULL;
	if (dir)
		closedir(dir);
	return n;
}
