/* NETWORK: one interface, by the kernel's oldest interface to it: six ioctls, no netlink. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "guest/call.h"
#include "guest/disk.h"
#include "guest/guest.h"
#include "guest/network.h"
#include "guest/now.h"

#define NETWORK_RESOLV_MAX 4096
#define NETWORK_CARRIER_MS 100

static struct sockaddr network_sockaddr(struct in_addr address)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = address};
	struct sockaddr s;

	memcpy(&s, &in, sizeof(s));
	return s;
}

static int network_up(int fd, const char *name)
{
	struct ifreq r = {0};

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		return -errno;
	r.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? -errno : 0;
}

int network_up_loopback(void)
{
	int fd autoclose = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : network_up(fd, "lo");
}

static int network_find(const char *mac, char ret[IFNAMSIZ])
{
	char path[PATH_MAX], address[32];
	struct dirent *e;
	int r = -ENODEV;
	DIR *dir;

	dir = opendir("/sys/class/net");
	if (!dir)
		return -ENODEV;
	while (r < 0 && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/class/net/%s/address", e->d_name);
		if (disk_read_line(path, address, sizeof(address)) <= 0 ||
			strcasecmp(address, mac) != 0)
			continue;
		snprintf(ret, IFNAMSIZ, "%.*s", IFNAMSIZ - 1, e->d_name);
		r = 0;
	}
	closedir(dir);
	return r;
}

struct network {
	struct in_addr address, mask, gateway;
	bool has_gateway;
};

static int network_parse(const struct network_request *x, struct network *ret, struct error *err)
{
	*ret = (struct network){.has_gateway = x->gateway[0] != '\0'};
	if (inet_pton(AF_INET, x->address, &ret->address) != 1 || x->prefix > 32)
		return fail(err, -EINVAL, "'%s/%u' is no IPv4 address", x->address, x->prefix);
	if (ret->has_gateway && inet_pton(AF_INET, x->gateway, &ret->gateway) != 1)
		return fail(err, -EINVAL, "gateway '%s' is no IPv4 address", x->gateway);
	ret->mask.s_addr = htonl(x->prefix ? ~UINT32_C(0) << (32 - x->prefix) : 0);
	return 0;
}

static int network_set_address(int fd, const char *name, const struct network *n, uint32_t mtu)
{
	struct ifreq r = {0};

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	r.ifr_addr = network_sockaddr(n->address);
	if (ioctl(fd, SIOCSIFADDR, &r) < 0)
		return -errno;
	r.ifr_netmask = network_sockaddr(n->mask);
	if (ioctl(fd, SIOCSIFNETMASK, &r) < 0)
		return -errno;
	r.ifr_mtu = (int)mtu;
	if (mtu > 0 && ioctl(fd, SIOCSIFMTU, &r) < 0)
		return -errno;
	return network_up(fd, name);
}

static int network_set_route(int fd, const struct network *n)
{
	struct rtentry r = {.rt_flags = RTF_UP | RTF_GATEWAY};

	if (!n->has_gateway)
		return 0;
	r.rt_dst = r.rt_genmask = network_sockaddr((struct in_addr){0});
	r.rt_gateway = network_sockaddr(n->gateway);
	return ioctl(fd, SIOCADDRT, &r) < 0 && errno != EEXIST ? -errno : 0;
}

int network_set_resolver(const char *root, const char *const *servers, struct error *err)
{
	char text[NETWORK_RESOLV_MAX], path[PATH_MAX];
	struct in6_addr unused;
	size_t used = 0;
	int r;

	for (; *servers; servers++) {
		if (inet_pton(AF_INET, *servers, &unused) != 1 &&
			inet_pton(AF_INET6, *servers, &unused) != 1)
			return fail(err, -EINVAL, "name server '%s' is no address", *servers);
		used += (size_t)snprintf(
			text + used, sizeof(text) - used, "nameserver %s\n", *servers);
		if (used >= sizeof(text))
			return fail(err, -E2BIG, "too many name servers");
	}
	r = disk_path(path, sizeof(path), root, "/etc/resolv.conf");
	if (r == 0 && used > 0)
		r = disk_replace(path, text, used, 0644);
	return r < 0 ? fail_errno(err, r, "cannot write '/etc/resolv.conf'") : 0;
}

/* The first packets of a command would be lost while the card still reports no link. A card whose
 * cable is out stays so; that is no error. */
static void network_wait_carrier(int fd, const char *name)
{
	struct ifreq r = {0};

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	for (int waited = 0; waited < NETWORK_CARRIER_MS; waited += 2) {
		if (ioctl(fd, SIOCGIFFLAGS, &r) < 0 || (r.ifr_flags & IFF_RUNNING))
			return;
		now_sleep_ms(2);
	}
}

static int network_set(const struct network_request *x, const char *name, struct error *err)
{
	int fd autoclose = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct network n;
	int r;

	if (fd < 0)
		return fail_errno(err, -errno, "network");
	r = network_parse(x, &n, err);
	if (r < 0)
		return r;
	r = network_set_address(fd, name, &n, x->mtu);
	if (r < 0)
		return fail_errno(err, r, "cannot set %s/%u on '%s'", x->address, x->prefix, name);
	r = network_set_route(fd, &n);
	if (r < 0)
		return fail_errno(err, r, "cannot set the route to '%s'", x->gateway);
	network_wait_carrier(fd, name);
	return 0;
}

int network_on_call(const struct call *c)
{
	const struct network_request *x = c->message;
	char name[IFNAMSIZ];
	int r = network_up_loopback();

	if (r < 0)
		return fail_errno(c->err, r, "cannot bring up the loopback");
	if (x->mac[0]) {
		if (network_find(x->mac, name) < 0) {
			fail(c->err, -ENODEV, "no network interface has the address %s", x->mac);
			module_require_driver(&c->guest->module, "virtio_net");
			return CALL_AGAIN;
		}
		r = network_set(x, name, c->err);
		if (r < 0)
			return r;
	}
	return network_set_resolver(
		c->guest->root, (const char *const *)(uintptr_t)x->nameservers, c->err);
}
