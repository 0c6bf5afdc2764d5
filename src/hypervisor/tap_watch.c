/* Taps whose own MAC is changed by who has their descriptor: the kernel asks for no right. */
#include <errno.h>

#include "hypervisor/tap_private.h"
#include "lib/log.h"

/* How often it is set back. */
#define FORGERIES_MAX 1

static const uint8_t mac_none[LINK_MAC_SIZE];

void tap_own_mac(const struct tap *tap, uint8_t ret[LINK_MAC_SIZE])
{
	memcpy(ret, tap->mac, LINK_MAC_SIZE);
	ret[0] = 0xfe;
}

static void set_back(struct taps *t, struct tap *tap)
{
	uint8_t mac[LINK_MAC_SIZE];
	const struct link_change change = {.mac = mac};
	int r;

	tap_own_mac(tap, mac);
	r = link_change(t->netlink, tap->index, &change);
	log_warning(
		"the MAC address of '%s' itself, a VM's tap on the network '%s', was changed; %s%s",
		tap->name, tap->network, r < 0 ? "it cannot be set back: " : "it is set back",
		r < 0 ? strerror(-r) : "");
	tap->is_cut = r < 0;
}

static void cut(struct taps *t, struct tap *tap)
{
	const struct link_change change = {.down = true, .no_master = true};
	int r = link_change(t->netlink, tap->index, &change);

	tap->is_cut = true;
	log_warning("the MAC address of '%s' itself, a VM's tap on the network '%s', was changed "
		    "again: its VM has no network any more%s%s",
		tap->name, tap->network, r < 0 ? ", but " : "", r < 0 ? strerror(-r) : "");
}

void tap_watch_check(struct taps *t, struct tap *tap)
{
	uint8_t mac[LINK_MAC_SIZE];
	struct link link;

	tap_own_mac(tap, mac);
	if (tap->is_cut || memcmp(tap->mac, mac_none, sizeof(mac_none)) == 0 ||
		link_get(t->netlink, tap->name, &link) < 0 || link.index != tap->index ||
		memcmp(link.mac, mac, sizeof(mac)) == 0)
		return;
	if (tap->forgeries++ < FORGERIES_MAX)
		set_back(t, tap);
	else
		cut(t, tap);
}

/* What has been heard may be old: the device is looked at. */
static int on_link(const struct nlmsghdr *header, void *userdata)
{
	struct taps *t = userdata;
	int index = link_heard(header);

	for (struct tap *tap = t->list; tap; tap = tap->next)
		if (tap->index == index && index > 0) {
			tap_watch_check(t, tap);
			break;
		}
	return 0;
}

static int on_events(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct taps *t = userdata;
	int r;

	do {
		r = netlink_hear(t->events, on_link, t);
		for (struct tap *tap = t->list; tap && r == -ENOBUFS; tap = tap->next)
			tap_watch_check(t, tap);
	} while (r == -ENOBUFS);
	if (r < 0) {
		log_warning("cannot hear of changes of network devices: %s", strerror(-r));
		tap_watch_close(t);
	}
	return 0;
}

int tap_watch_open(struct taps *t, struct error *err)
{
	int r;

	if (t->events)
		return 0;
	r = netlink_watch_links(&t->events, err);
	if (r < 0)
		return r;
	r = sd_event_add_io(
		t->event, &t->watch, netlink_descriptor(t->events), EPOLLIN, on_events, t);
	if (r < 0)
		tap_watch_close(t);
	return r < 0 ? fail_errno(err, r, "cannot watch network devices") : 0;
}

void tap_watch_close(struct taps *t)
{
	t->watch = sd_event_source_disable_unref(t->watch);
	t->events = netlink_free(t->events);
}
