#include "guest/network6.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "guest/disk.h"
#include "guest/now.h"

/* Where nobody is asked whether an address is his, it can be used as soon as the kernel has a
 * moment for it. Where the kernel asks after all, it takes two seconds, more on a busy host; a
 * connection before that would be made with the loopback's address, and never be answered. */
#define USABLE_MS 6000

/* Of a route that somebody has set, as `ip route` has it. */
#define ROUTE_METRIC 1024

/* From linux/ipv6.h, which musl's compiler does not find. */
struct address6 {
	struct in6_addr address;
	uint32_t prefix;
	int index;
};

void network6_expect(const char *root, const char *name, const struct network_request *x)
{
	char path[PATH_MAX], setting[128];
	int fd autoclose = -1;

	if (!x->address6[0])
		return;
	snprintf(setting, sizeof(setting), "/proc/sys/net/ipv6/conf/%s/accept_dad", name);
	if (disk_path(path, sizeof(path), root, setting) == 0)
		fd = open(path, O_WRONLY | O_CLOEXEC);
	/* Without it the address can be used two seconds later. */
	if (fd >= 0 && write(fd, "0", 1) < 0)
		return;
}

/* A command's first connection would fail before. */
static void wait_usable(int fd, const struct in6_addr *address)
{
	struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_addr = *address};
	struct sockaddr s[2];

	memcpy(s, &own, sizeof(own));
	for (int waited = 0; waited < USABLE_MS && bind(fd, s, sizeof(own)) < 0; waited++)
		now_sleep_ms(1);
}

static int set_route(int fd, int index, const char *gateway)
{
	struct in6_rtmsg route = {.rtmsg_flags = RTF_UP | RTF_GATEWAY,
		.rtmsg_metric = ROUTE_METRIC,
		.rtmsg_ifindex = index};

	if (inet_pton(AF_INET6, gateway, &route.rtmsg_gateway) != 1)
		return -EINVAL;
	return ioctl(fd, SIOCADDRT, &route) < 0 && errno != EEXIST ? -errno : 0;
}

int network6_set(const char *name, const struct network_request *x, struct error *err)
{
	struct address6 a = {.prefix = x->prefix6, .index = (int)if_nametoindex(name)};
	int fd autoclose = -1;
	int r;

	if (!x->address6[0])
		return 0;
	if (inet_pton(AF_INET6, x->address6, &a.address) != 1 || x->prefix6 > 128)
		return fail(err, -EINVAL, "'%s/%u' is no IPv6 address", x->address6, x->prefix6);
	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno == EAFNOSUPPORT ? 0 : fail_errno(err, -errno, "socket");
	r = ioctl(fd, SIOCSIFADDR, &a) < 0 && errno != EEXIST ? -errno : 0;
	if (r == -EACCES || r == -EOPNOTSUPP) /* switched off for this interface, or for all */
		return 0;
	if (r < 0)
		return fail_errno(
			err, r, "cannot set %s/%u on '%s'", x->address6, x->prefix6, name);
	r = x->gateway6[0] ? set_route(fd, a.index, x->gateway6) : 0;
	if (r < 0)
		return fail_errno(err, r, "cannot set the route to '%s'", x->gateway6);
	wait_usable(fd, &a.address);
	return 0;
}
