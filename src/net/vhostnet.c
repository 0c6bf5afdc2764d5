#include "net/vhostnet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>

#include "lib/log.h"

/* That it opens is not enough: QEMU ends with a device that does not do what it asks. */
static int open_one(const char *path)
{
	autoclose int fd = open(path, O_RDWR | O_CLOEXEC);
	uint64_t features;

	if (fd < 0 || ioctl(fd, VHOST_GET_FEATURES, &features) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int vhostnet_open(const char *path, size_t count, bool needed, int *ret_fds, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		r = ret_fds[i] = open_one(path);
		r = MIN_OF(r, 0);
		while (r < 0 && i > 0)
			base_close(ret_fds[--i]);
	}
	if (r == 0)
		return (int)count;
	if (!needed) {
		log_debug("no vhost-net: '%s': %s", path, strerror(-r));
		return 0;
	}
	return fail_errno(err, r,
		"cannot open '%s', which the network's 'vhost = yes' needs (modprobe vhost_net; or set "
		"vhost = auto)",
		path);
}
