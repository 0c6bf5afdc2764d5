#include "hypervisor/taps.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>

#include "hypervisor/tap_private.h"
#include "lib/log.h"

/* For how long taps wait for their VMs, after a daemon was started: as VMs themselves. */
#define CLAIM_US (60 * UINT64_C(1000000))

/* Behind it stand the network, the address, the share and the VM's MAC: all that must outlive a
 * daemon. */
#define ALIAS "wnodes "

#define GROUPS_MAX 256

struct taps *taps_free(struct taps *t)
{
	if (!t)
		return NULL;
	sd_event_source_disable_unref(t->sweep);
	worker_free(t->worker); /* what was to be removed is by the next daemon */
	while (t->list) {
		struct tap *tap = t->list;

		t->list = tap->next;
		tap_queues_forget(tap);
		base_close(tap->fd);
		json_decref(tap->nameservers);
		free(tap);
	}
	free(t->departure);
	networks_done(&t->networks);
	tap_watch_close(t);
	netlink_free(t->netlink);
	sd_event_unref(t->event);
	free(t);
	return NULL;
}

int taps_load(struct taps *t, const char *pushed, const char *path, struct error *err)
{
	struct networks fresh;
	int r = networks_load(&fresh, pushed, path ? path : settings_site_file(), err);

	if (r < 0)
		return r;
	networks_done(&t->networks);
	t->networks = fresh;
	return 0;
}

static void read_alias(const char *alias, struct tap *tap)
{
	const char *rest = str_after(alias, ALIAS);
	char address[INET_ADDRSTRLEN], mac[LINK_MAC_TEXT] = "";

	if (!rest ||
		sscanf(rest, "%11s %15s %hu %17s", tap->network, address, &tap->share, mac) < 3)
		return;
	inet_pton(AF_INET, address, &tap->address);
	if (link_parse_mac(mac, tap->mac) < 0)
		memset(tap->mac, 0, sizeof(tap->mac));
}

static int note_old(const struct link *link, void *userdata)
{
	struct taps *t = userdata;
	struct tap *tap;

	if (!str_after(link->name, TAP_PREFIX) || !streq(link->kind, "tun"))
		return 0;
	tap = calloc(1, sizeof(*tap));
	if (!tap)
		return -ENOMEM;
	*tap = (struct tap){.taps = t, .next = t->list, .index = link->index, .fd = -1};
	memcpy(tap->name, link->name, sizeof(tap->name));
	read_alias(link->alias, tap);
	t->list = tap;
	return 0;
}

static void remove_tap(struct taps *t, struct tap *tap)
{
	struct tap **at = &t->list;

	while (*at != tap)
		at = &(*at)->next;
	*at = tap->next;
	tap_queues_forget(tap);
	base_close(tap->fd);
	json_decref(tap->nameservers);
	free(tap);
}

/* VMs that have not come back by now are not going to. */
static int on_sweep(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct taps *t = userdata;
	struct error err = {0};

	for (struct tap *tap = t->list, *next; tap; tap = next) {
		next = tap->next;
		if (!tap->claimed) {
			log_info("the tap '%s' is nobody's; it is removed", tap->name);
			taps_close(t, tap, false);
		}
	}
	if (firewall_sweep(TAP_PREFIX, &err) < 0)
		log_debug("%s", err.text);
	return 0;
}

/* Where nobody ever had a network there is nothing to look for, and perhaps no right to. */
static int look_for_old(struct taps *t, struct error *err)
{
	struct error ignored = {0};

	if (netlink_open(&t->netlink, &ignored) < 0 || link_each(t->netlink, note_old, t) < 0 ||
		(!t->list && t->networks.list.count == 0)) {
		log_debug("no taps are looked for: %s", ignored.text);
		return 0;
	}
	if (t->list && tap_watch_open(t, &ignored) < 0)
		log_warning("%s", ignored.text);
	for (struct tap *tap = t->list; tap; tap = tap->next)
		tap_watch_check(t, tap);
	if (sd_event_add_time_relative(
		    t->event, &t->sweep, CLOCK_MONOTONIC, CLAIM_US, 0, on_sweep, t) < 0)
		return fail(err, -ENOMEM, "out of memory");
	return 0;
}

int taps_new(sd_event *event, const struct settings *settings, const char *pushed, const char *path,
	struct taps **ret, struct error *err)
{
	struct taps *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return fail(err, -ENOMEM, "out of memory");
	*t = (struct taps){.event = sd_event_ref(event), .settings = settings};
	t->networks = (struct networks){network_section};
	r = worker_new(event, &t->worker, err);
	if (r == 0)
		r = taps_load(t, pushed, path, err);
	if (r == 0)
		r = look_for_old(t, err);
	if (r < 0)
		taps_free(t);
	else
		*ret = t;
	return r;
}

static bool is_in_group(const struct passwd *account, const char *name)
{
	const struct group *group = getgrnam(name);
	gid_t groups[GROUPS_MAX];
	int count = GROUPS_MAX;

	if (!group || getgrouplist(account->pw_name, account->pw_gid, groups, &count) < 0)
		return false;
	for (int i = 0; i < count; i++)
		if (groups[i] == group->gr_gid)
			return true;
	return false;
}

static bool may_use(const struct network *network, uid_t uid)
{
	const struct passwd *account = network->users[0] ? getpwuid(uid) : NULL;

	for (char **i = network->users; account && *i; i++)
		if ((*i)[0] == '@' ? is_in_group(account, *i + 1)
				   : fnmatch(*i, account->pw_name, 0) == 0)
			return true;
	return !network->users[0] || uid == 0;
}

int taps_check(const struct taps *t, const char *name, uid_t uid, struct error *err)
{
	const struct network *network = networks_find(&t->networks, name);

	if (!network)
		return fail(err, -ENOENT,
			"this node has no network '%s'; the administrator makes one by [network %s] in "
			"wnodes.conf",
			name, name);
	if (!may_use(network, uid))
		return fail(err, -EACCES, "the network '%s' is not for you; ask the administrator",
			network->name);
	if (network->vlan &&
		!network_has_vlan((const char *const *)t->settings->node_vlans, network->vlan))
		return fail(err, -EACCES,
			"the network '%s' is the VLAN %llu, which [node] vlans does not have",
			network->name, (unsigned long long)network->vlan);
	return 0;
}

static uint16_t free_share(const struct taps *t, const char *network)
{
	for (uint16_t share = 2; share < UINT16_MAX; share++) {
		const struct tap *tap = t->list;

		while (tap && !(tap->share == share && streq(tap->network, network)))
			tap = tap->next;
		if (!tap)
			return share;
	}
	return 0;
}

static int uplink_index(const char *network)
{
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), NETWORK_VLAN "%s", network);
	return (int)if_nametoindex(name);
}

static int set_rates(
	struct taps *t, const struct network *network, struct tap *tap, struct error *err)
{
	int r = network->rate_down ? rate_limit(t->netlink, tap->index, network->rate_down, err)
				   : 0;

	if (r < 0 || !tap->share)
		return r;
	return rate_add_share(t->netlink, uplink_index(network->name), tap->share,
		network->guaranteed, network->rate_up ? network->rate_up : network->capacity, err);
}

static int set_rules(const struct network *network, const struct tap *tap, struct error *err)
{
	struct firewall_port port = {.device = tap->name,
		.network = network->name,
		.closed = network->closed,
		.address = tap->address,
		.rate = network->rate_up,
		.share = tap->share};

	memcpy(port.mac, tap->mac, sizeof(port.mac));
	tap_node_address(network, &port.server);
	port.address6_count = tap_addresses6(network, tap->mac, port.addresses6);
	return firewall_add(&port, err);
}

static int set_device(struct taps *t, const struct network *network, struct tap *tap,
	const struct link *bridge, struct error *err)
{
	char address[INET_ADDRSTRLEN], alias[LINK_ALIAS_MAX];
	char text[LINK_MAC_TEXT];
	uint8_t mac[LINK_MAC_SIZE];
	struct link_change change = {.mac = mac, .alias = alias};
	struct link link;
	int r = link_get(t->netlink, tap->name, &link);

	tap_own_mac(tap, mac);
	inet_ntop(AF_INET, &tap->address, address, sizeof(address));
	snprintf(alias, sizeof(alias), ALIAS "%s %s %u %s", network->name, address, tap->share,
		link_format_mac(tap->mac, text));
	tap->index = link.index;
	tap->mtu = network->mtu ? (uint32_t)network->mtu : bridge->mtu;
	change.mtu = tap->mtu != link.mtu ? tap->mtu : 0;
	if (r == 0)
		r = link_change(t->netlink, link.index, &change);
	return r < 0 ? netlink_fail(t->netlink, r, err, "cannot set up a VM's tap") : 0;
}

static int connect_device(struct taps *t, const struct network *network, const struct tap *tap,
	const struct link *bridge, struct error *err)
{
	const struct link_change join = {.master = bridge->index}, up = {.up = true};
	const struct link_port port = {.isolated = network->isolated,
		.vlan = network->bridge ? (uint16_t)network->vlan : 0};
	int r = link_change(t->netlink, tap->index, &join);

	if (r == 0)
		r = link_set_port(t->netlink, tap->index, &port);
	if (r == 0)
		r = link_change(t->netlink, tap->index, &up);
	return r < 0 ? netlink_fail(t->netlink, r, err, "cannot connect a VM's tap with '%s'",
			       bridge->name)
		     : 0;
}

/* It is connected last, when the rules are there. */
static int make(struct taps *t, const struct network *network, const struct tap_wish *wish,
	struct tap *tap, struct error *err)
{
	struct link bridge;
	int r = tap_network_open(t, network, wish, &bridge, err);

	if (r == 0)
		r = tap_choose_address(t, network, wish, tap, err);
	if (r == 0)
		r = tap_queues_open(network, wish, tap, err);
	if (r == 0)
		r = set_device(t, network, tap, &bridge, err);
	if (r == 0)
		r = set_rules(network, tap, err);
	if (r == 0)
		r = set_rates(t, network, tap, err);
	return r < 0 ? r : connect_device(t, network, tap, &bridge, err);
}

static void name_tap(const char *record_id, char ret[IFNAMSIZ])
{
	size_t n = (size_t)snprintf(ret, IFNAMSIZ, TAP_PREFIX);

	for (; *record_id && n < IFNAMSIZ - 1; record_id++)
		if (*record_id != '-')
			ret[n++] = *record_id;
	ret[n] = '\0';
}

int taps_open(struct taps *t, const struct tap_wish *wish, struct tap **ret, struct error *err)
{
	const struct network *network;
	struct tap *tap;
	int r = taps_check(t, wish->network, wish->uid, err);

	if (r == 0 && !t->netlink)
		r = netlink_open(&t->netlink, err);
	if (r == 0)
		r = tap_watch_open(t, err);
	if (r < 0)
		return r;
	tap = calloc(1, sizeof(*tap));
	if (!tap)
		return fail(err, -ENOMEM, "out of memory");
	network = networks_find(&t->networks, wish->network);
	*tap = (struct tap){.taps = t, .fd = -1, .claimed = true};
	name_tap(wish->record_id, tap->name);
	snprintf(tap->network, sizeof(tap->network), "%s", network->name);
	tap->share = network->guaranteed ? free_share(t, network->name) : 0;
	tap->next = t->list;
	t->list = tap;
	r = make(t, network, wish, tap, err);
	if (r < 0)
		taps_close(t, tap, false);
	else
		*ret = tap;
	return r;
}

struct tap *taps_claim(struct taps *t, const char *record_id)
{
	char name[IFNAMSIZ];

	name_tap(record_id, name);
	for (struct tap *tap = t->list; tap; tap = tap->next)
		if (!tap->claimed && streq(tap->name, name)) {
			tap->claimed = true;
			return tap;
		}
	return NULL;
}

struct tap *taps_close(struct taps *t, struct tap *tap, bool leave)
{
	if (!tap || leave)
		return NULL;
	if (tap->share)
		rate_remove_share(t->netlink, uplink_index(tap->network), tap->share);
	if (tap->index)
		tap_depart(t, tap->name, tap->index, TAKE_FD(tap->fd));
	remove_tap(t, tap);
	return NULL;
}

const struct vm_tap *tap_lent(const struct tap *tap)
{
	return &tap->lent;
}

void tap_sent(struct tap *tap)
{
	tap_queues_forget(tap);
}

static const char *text_or_null(const char *text)
{
	return text[0] ? text : NULL;
}

json_t *tap_to_json(const struct tap *tap)
{
	char mac[LINK_MAC_TEXT], address[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &tap->address, address, sizeof(address));
	return json_pack("{s:s, s:s, s:s, s:i, s:s*, s:O*, s:I, s:s*, s:i, s:s*}", "name",
		tap->network, "mac", link_format_mac(tap->mac, mac), "address", address, "prefix",
		(int)tap->prefix, "gateway", text_or_null(tap->gateway), "nameservers",
		tap->nameservers, "mtu", (json_int_t)tap->mtu, "address6",
		text_or_null(tap->address6), "prefix6", TAP_PREFIX6, "gateway6",
		text_or_null(tap->gateway6));
}

bool tap_count(struct tap *tap, uint64_t *ret_received_bytes, uint64_t *ret_sent_bytes)
{
	struct link link;

	if (link_get(tap->taps->netlink, tap->name, &link) < 0)
		return false;
	*ret_received_bytes = link.sent_bytes;
	*ret_sent_bytes = link.received_bytes;
	return true;
}
