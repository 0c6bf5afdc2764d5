#include "net/vhostnet.h"

#include <errno.h>
#include <fcntl.h>

#include "lib/log.h"

int vhostnet_open(const char *path, size_t count, bool needed, int *ret_fds, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		ret_fds[i] = open(path, O_RDWR | O_CLOEXEC);
		r = ret_fds[i] < 0 ? -errno : 0;
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
