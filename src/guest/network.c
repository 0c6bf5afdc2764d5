/* NETWORK: one interface, by the kernel's oldest interface to it: six ioctls, no netlink. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "guest/call.h"
#include "guest/disk.h"
#include "guest/guest.h"
#include "guest/network.h"
#include "guest/network6.h"
#include "guest/now.h"

#define NETWORK_RESOLV_MAX 4096
#define NETWORK_CARRIER_MS 100

#define MAC_SIZE  6
#define CARDS_MAX 128 /* numbers of interfaces that are asked for */

/* From linux/ethtool.h and linux/sockios.h, which musl's compiler does not find. */
#ifndef ETHTOOL_GLINK
#define ETHTOOL_GLINK 0x0000000a
#define SIOCETHTOOL   0x8946
#endif
struct card_value {
	uint32_t command, data;
};

static struct sockaddr network_sockaddr(struct in_addr address)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = address};
	struct sockaddr s;

	memcpy(&s, &in, sizeof(s));
	return s;
}

static int network_open(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int network_set_up(int fd, const char *name, bool up)
{
	struct ifreq r = {0};

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		return -errno;
	if (up == !!(r.ifr_flags & IFF_UP))
		return 0;
	r.ifr_flags ^= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? -errno : 0;
}

int network_up_loopback(void)
{
	int fd autoclose = network_open();

	return fd < 0 ? fd : network_set_up(fd, "lo", true);
}

static int mac_parse(const char *s, uint8_t ret[MAC_SIZE])
{
	if (strlen(s) != 3 * MAC_SIZE - 1 || strspn(s, "0123456789abcdefABCDEF:") != strlen(s))
		return -EINVAL;
	return sscanf(s, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &ret[0], &ret[1], &ret[2], &ret[3],
		       &ret[4], &ret[5]) == MAC_SIZE
		       ? 0
		       : -EINVAL;
}

/* Asks for the interface with this number. Returns 0, -ENODEV if there is none, -EAGAIN if it is no
 * Ethernet card. */
static int card_get(int fd, int index, struct ifreq *ret)
{
	*ret = (struct ifreq){.ifr_ifindex = index};
	if (ioctl(fd, SIOCGIFNAME, ret) < 0 || ioctl(fd, SIOCGIFHWADDR, ret) < 0)
		return -ENODEV;
	return ret->ifr_hwaddr.sa_family == ARPHRD_ETHER ? 0 : -EAGAIN;
}

/* By the numbers that the kernel gives out from 1 on, because reading /sys takes ten times as many
 * system calls. */
static int card_find(int fd, const uint8_t mac[MAC_SIZE], char ret[IFNAMSIZ])
{
	struct ifreq r;

	for (int i = 1; i <= CARDS_MAX; i++) {
		if (card_get(fd, i, &r) < 0 || memcmp(r.ifr_hwaddr.sa_data, mac, MAC_SIZE) != 0)
			continue;
		memcpy(ret, r.ifr_name, IFNAMSIZ);
		return 0;
	}
	return -ENODEV;
}

static int card_set_mac(int fd, const char *name, const uint8_t mac[MAC_SIZE])
{
	struct ifreq r = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};
	int error;

	memcpy(r.ifr_name, name, IFNAMSIZ);
	memcpy(r.ifr_hwaddr.sa_data, mac, MAC_SIZE);
	if (ioctl(fd, SIOCSIFHWADDR, &r) == 0)
		return 0;
	/* Most drivers change it only while the card is down; network_set_address() wakes it. */
	error = -errno;
	if (error != -EBUSY)
		return error;
	error = network_set_up(fd, name, false);
	return error == 0 && ioctl(fd, SIOCSIFHWADDR, &r) < 0 ? -errno : error;
}

void network_warm(void)
{
	int fd autoclose = network_open();
	struct ifreq r;

	for (int i = 1; fd >= 0 && i <= CARDS_MAX; i++)
		if (card_get(fd, i, &r) == 0 && network_set_up(fd, r.ifr_name, true) == 0)
			network_set_up(fd, r.ifr_name, false);
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
	return network_set_up(fd, name, true);
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
		r = disk_update(path, text, used, 0644);
	return r < 0 ? fail_errno(err, r, "cannot write '/etc/resolv.conf'") : 0;
}

/* Does the card see its link? -ENODEV or the like if it cannot say. */
static int card_has_link(int fd, const char *name)
{
	struct card_value value = {.command = ETHTOOL_GLINK};
	struct ifreq r = {.ifr_data = (char *)&value};

	memcpy(r.ifr_name, name, IFNAMSIZ);
	return ioctl(fd, SIOCETHTOOL, &r) < 0 ? -errno : value.data != 0;
}

/* The first packets of a command would be lost while the card still reports no link. One that has
 * it sends at once; IFF_RUNNING follows up to a second later. A card whose cable is out stays so;
 * that is no error. */
static void network_wait_link(int fd, const char *name)
{
	for (int waited = 0; waited < NETWORK_CARRIER_MS && card_has_link(fd, name) == 0; waited++)
		now_sleep_ms(1);
}

static int network_set(struct guest *g, int fd, const struct network_request *x, const char *name,
	struct error *err)
{
	struct network n;
	int r = network_parse(x, &n, err);

	if (r < 0)
		return r;
	network6_expect(g->root, name, x);
	r = network_set_address(fd, name, &n, x->mtu);
	if (r < 0)
		return fail_errno(err, r, "cannot set %s/%u on '%s'", x->address, x->prefix, name);
	r = network_set_route(fd, &n);
	if (r < 0)
		return fail_errno(err, r, "cannot set the route to '%s'", x->gateway);
	network_wait_link(fd, name);
	return network6_set(name, x, err);
}

/* The card that has the address `mac`, or gets it now. Returns 0 or negative errno, -ENODEV if
 * there is none such. */
static int network_find(
	int fd, const struct network_request *x, char ret[IFNAMSIZ], struct error *err)
{
	uint8_t mac[MAC_SIZE], card[MAC_SIZE];
	int r;

	if (mac_parse(x->mac, mac) < 0 || (x->card[0] && mac_parse(x->card, card) < 0))
		return fail(err, -EINVAL, "'%s' or '%s' is no hardware address", x->mac, x->card);
	if (!x->card[0] || card_find(fd, card, ret) < 0) {
		r = card_find(fd, mac, ret);
		return r < 0 ? fail(err, r, "no network interface has the address %s",
				       x->card[0] ? x->card : x->mac)
			     : 0;
	}
	r = card_set_mac(fd, ret, mac);
	return r < 0 ? fail_errno(err, r, "cannot give '%s' the address %s", ret, x->mac) : 0;
}

/* Once: asking for what is so in a clone is a twentieth of all that it does. */
static int network_set_loopback(struct guest *g)
{
	int r = g->loopback_is_up ? 0 : network_up_loopback();

	g->loopback_is_up = r == 0;
	return r;
}

static int network_set_card(struct guest *g, const struct network_request *x, struct error *err)
{
	int fd autoclose = network_open();
	char name[IFNAMSIZ];
	int r;

	if (fd < 0)
		return fail_errno(err, fd, "socket");
	r = network_find(fd, x, name, err);
	if (r == -ENODEV) {
		module_require_driver(&g->module, "virtio_net");
		return CALL_AGAIN;
	}
	return r < 0 ? r : network_set(g, fd, x, name, err);
}

int network_on_call(const struct call *c)
{
	const struct network_request *x = c->message;
	int r = network_set_loopback(c->guest);

	if (r < 0)
		return fail_errno(c->err, r, "cannot bring up the loopback");
	r = x->mac[0] ? network_set_card(c->guest, x, c->err) : 0;
	if (r != 0)
		return r;
	return network_set_resolver(
		c->guest->root, (const char *const *)(uintptr_t)x->nameservers, c->err);
}
