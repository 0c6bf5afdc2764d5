/* How many taps a second are made, with address, rules, rate and queue, and removed: taps COUNT
 * [BRIDGE]. To be run as root in a network of its own (unshare --net), with a bridge where the
 * kernel has some. Prints one line. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "lib/clock.h"
#include "net/firewall.h"
#include "net/link.h"
#include "net/rate.h"

#define COUNT_MAX 1000
#define GROUP     4711

static struct netlink *netlink;
static char names[COUNT_MAX][IFNAMSIZ];
static int fds[COUNT_MAX];

static void make(int i, const char *bridge, struct error *err)
{
	struct firewall_port port = {
		.device = names[i], .network = "bench", .rate = 10000000, .address6_count = 1};
	const uint8_t mac[LINK_MAC_SIZE] = {0xfe, 0x57, 10, 0, (uint8_t)(i >> 8), (uint8_t)i};
	struct link_change change = {.mac = mac, .alias = "wnodes bench 10.0.0.0 0"};
	struct link link;

	snprintf(names[i], IFNAMSIZ, "wnt%d", i);
	memcpy(port.mac, mac, sizeof(mac));
	port.address.s_addr = htonl(0x0a000000u + (uint32_t)i);
	port.addresses6[0].s6_addr[0] = 0xfe;
	port.addresses6[0].s6_addr[15] = (uint8_t)i;
	if (link_open_tap(names[i], 1, &fds[i], err) < 0 ||
		link_get(netlink, names[i], &link) < 0 ||
		link_change(netlink, link.index, &change) < 0 || firewall_add(&port, err) < 0 ||
		rate_limit(netlink, link.index, 10000000, err) < 0)
		return;
	change = (struct link_change){
		.up = true, .master = bridge ? (int)if_nametoindex(bridge) : 0};
	if (link_change(netlink, link.index, &change) < 0)
		fail(err, -EIO, "cannot connect a tap");
	if (bridge && link_set_port(netlink, link.index, &(struct link_port){.isolated = true}) < 0)
		fail(err, -EIO, "cannot set a port");
}

static void take_back(int i)
{
	const struct link_change change = {.down = true, .no_master = true, .group = GROUP};

	link_change(netlink, (int)if_nametoindex(names[i]), &change);
}

int main(int argc, char **argv)
{
	const struct firewall_network network = {.name = "bench"};
	const char *bridge = argc > 2 ? argv[2] : NULL, *list[COUNT_MAX];
	int count = argc > 1 ? (int)MIN_OF(strtol(argv[1], NULL, 10), (long)COUNT_MAX) : 200;
	struct error err = {0};
	uint64_t start, made, end;

	if (netlink_open(&netlink, &err) == 0 && firewall_open(&err) == 0)
		firewall_set_network(&network, &err);
	start = clock_now_us();
	for (int i = 0; i < count && !err.text[0]; i++)
		make(i, bridge, &err);
	made = clock_now_us();
	for (int i = 0; i < count && !err.text[0]; i++) {
		take_back(i);
		list[i] = names[i];
	}
	if (!err.text[0] && firewall_remove(list, (size_t)count, &err) == 0)
		link_remove_group(netlink, GROUP);
	for (int i = 0; i < count; i++)
		base_close(fds[i]);
	end = clock_now_us();
	netlink = netlink_free(netlink);
	if (err.text[0]) {
		fprintf(stderr, "taps: %s\n", err.text);
		return 1;
	}
	printf("%.0f a second: %.2f ms to make, %.2f ms to remove\n",
		(double)count * 1e6 / (double)(end - start), (double)(made - start) / count / 1e3,
		(double)(end - made) / count / 1e3);
	return 0;
}
