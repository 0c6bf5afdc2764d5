#include "net/bubble_test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/file.h"
#include "net/link.h"

struct netlink *bubble;

static bool write_text(const char *path, const char *text)
{
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

bool bubble_enter(void)
{
	struct error err = {0};
	char map[64];

	if (unshare(CLONE_NEWNET) < 0) {
		snprintf(map, sizeof(map), "0 %u 1", (unsigned int)getuid());
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 ||
			!write_text("/proc/self/uid_map", map))
			return false;
	}
	return access("/dev/net/tun", R_OK | W_OK) == 0 && netlink_open(&bubble, &err) == 0;
}

int bubble_watch(const char *lower)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	struct nl_msg *message =
		netlink_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(header));
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct nlattr *info;
	struct link link;
	int fd;

	netlink_put_text(message, IFLA_IFNAME, "watch");
	netlink_put_u32(message, IFLA_LINK, if_nametoindex(lower));
	info = netlink_nest(message, IFLA_LINKINFO);
	netlink_put_text(message, IFLA_INFO_KIND, "macvlan");
	netlink_end_nest(message, info);
	if (netlink_call(bubble, message, NULL, NULL) < 0 || link_get(bubble, "watch", &link) < 0 ||
		link_change(bubble, link.index, &(struct link_change){.up = true}) < 0)
		return -1;
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	address.sll_ifindex = link.index;
	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fd = base_close(fd);
	return fd;
}

bool bubble_sees(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char frame[2048];
	struct sockaddr_ll from;
	socklen_t size = sizeof(from);

	while (poll(&p, 1, ms) > 0) {
		ssize_t n = recvfrom(fd, frame, sizeof(frame), 0, (struct sockaddr *)&from, &size);

		if (n > 0 && from.sll_pkttype != PACKET_OUTGOING)
			return true;
	}
	return false;
}
