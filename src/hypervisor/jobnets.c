#include "hypervisor/jobnets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "engine/crew.h"
#include "engine/network.h"
#include "lib/digest.h"
#include "lib/log.h"

/* A VM that outlives its daemon may leave something behind. */
#define SWEEP_US (UINT64_C(30) * 1000000)

struct jobnets {
	const struct settings *settings;
	sd_event_source *sweep;
	struct netlink *netlink; /* NULL: not opened yet */
};

static int jobnets_connect(struct jobnets *j, struct error *err)
{
	return j->netlink ? 0 : netlink_open(&j->netlink, err);
}

static void jobnets_sweep(struct jobnets *j)
{
	struct error err = {0};
	int n = jobnets_connect(j, &err);

	if (n == 0)
		n = jobnet_sweep(j->netlink, &err);
	if (n > 0)
		log_notice("removed the networks of %d jobs whose VMs are gone", n);
	if (n < 0)
		log_debug("networks of jobs: %s", err.text);
}

static int on_sweep(sd_event_source *source, uint64_t usec, void *userdata)
{
	jobnets_sweep(userdata);
	sd_event_source_set_time_relative(source, SWEEP_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int jobnets_new(sd_event *event, const struct settings *settings, struct jobnets **ret)
{
	struct jobnets *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return -ENOMEM;
	j->settings = settings;
	r = sd_event_add_time_relative(event, &j->sweep, CLOCK_MONOTONIC, 0, 0, on_sweep, j);
	if (r < 0) {
		jobnets_free(j);
		return r;
	}
	*ret = j;
	return 0;
}

struct jobnets *jobnets_free(struct jobnets *j)
{
	if (!j)
		return NULL;
	sd_event_source_disable_unref(j->sweep);
	netlink_free(j->netlink);
	free(j);
	return NULL;
}

static struct jobnet_place *place_free(struct jobnet_place *p)
{
	if (!p)
		return NULL;
	base_close(p->tap_fd);
	free(p->members);
	free(p);
	return NULL;
}
DEFINE_CLEANUP(struct jobnet_place *, place_free)

/* The network's number is public, its key is not. */
static int parse_key(const json_t *json, uint32_t *ret, struct error *err)
{
	const char *key = json_string_value(json_object_get(json, "key"));
	char text[CREW_KEY_SIZE + 8];
	uint8_t digest[DIGEST_SIZE];

	if (!key || strlen(key) != CREW_KEY_SIZE - 1 ||
		strspn(key, "0123456789abcdef") != CREW_KEY_SIZE - 1)
		return fail(err, -EINVAL, "the key of the job's network is no key");
	snprintf(text, sizeof(text), "number %s", key);
	if (digest_raw(text, strlen(text), digest) < 0)
		return fail(err, -EIO, "the node's daemon cannot make a digest");
	*ret = (uint32_t)digest[0] << 16 | (uint32_t)digest[1] << 8 | digest[2];
	explicit_bzero(text, sizeof(text));
	return 0;
}

static bool is_within(struct in_addr address, const char *network)
{
	struct in6_addr base = {0};
	uint8_t prefix;
	uint32_t first;

	if (network_parse_prefix(network, &base, &prefix, NULL) != AF_INET)
		return false;
	memcpy(&first, &base, sizeof(first));
	return prefix == 0 || (ntohl(first) ^ ntohl(address.s_addr)) >> (32 - prefix) == 0;
}

/* Users say where their job's nodes are; that alone does not let them send there. */
static int parse_node(
	const struct jobnets *j, const json_t *json, struct in_addr *ret, struct error *err)
{
	const char *text = json_string_value(json);
	char **network = j->settings->node_job_hosts;

	if (!text || inet_pton(AF_INET, text, ret) != 1)
		return fail(err, -EINVAL, "a node of the job's network has no IPv4 address");
	for (; network && *network; network++)
		if (is_within(*ret, *network))
			return 0;
	return fail(err, -EPERM,
		"the job's node %s is in none of the networks of [node] job_hosts; ask the "
		"administrator",
		text);
}

static int parse_members(
	const struct jobnets *j, const json_t *nodes, struct jobnet_place *p, struct error *err)
{
	char mac[CREW_MAC_SIZE];
	int r = 0;

	p->net.count = json_array_size(nodes);
	if (p->net.count < 2 || p->net.count > CREW_MAX)
		return fail(err, -EINVAL, "the job's network has no nodes, or too many");
	p->net.members = p->members = calloc(p->net.count, sizeof(*p->members));
	if (!p->members)
		return fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < p->net.count && r == 0; i++) {
		struct jobnet_member *m = &p->members[i];

		r = parse_node(j, json_array_get(nodes, i), &m->node, err);
		crew_mac(i, mac);
		if (r == 0)
			r = link_parse_mac(mac, m->mac);
	}
	return r;
}

int jobnets_parse(
	const struct jobnets *j, const json_t *json, struct jobnet_place **ret, struct error *err)
{
	struct jobnet_place *p AUTO(place_freep) = calloc(1, sizeof(*p));
	const json_t *index = json_object_get(json, "index");
	int r;

	if (!p)
		return fail(err, -ENOMEM, "out of memory");
	if (!json)
		return fail(err, -EINVAL,
			"the network 'job' is for steps of srun that have VMs on several nodes");
	p->tap_fd = -1;
	p->net.port = (uint16_t)j->settings->node_job_port;
	if (p->net.port == 0)
		return fail(err, -EPERM,
			"this node connects no VMs of several nodes ([node] job_port is 0)");
	r = parse_key(json, &p->net.number, err);
	if (r == 0)
		r = parse_members(j, json_object_get(json, "nodes"), p, err);
	if (r < 0)
		return r;
	if (!json_is_integer(index) || json_integer_value(index) < 0 ||
		(size_t)json_integer_value(index) >= p->net.count)
		return fail(err, -EINVAL, "the job's network has no such VM");
	p->net.self = (size_t)json_integer_value(index);
	*ret = TAKE_PTR(p);
	return 0;
}

int jobnets_open(struct jobnets *j, struct jobnet_place *place, struct error *err)
{
	int r = jobnets_connect(j, err);

	if (r == 0)
		r = jobnet_open(j->netlink, &place->net, &place->tap_fd, &place->mtu, err);
	return r < 0 ? fail_within(err, "the network of the job") : 0;
}

struct jobnet_place *jobnets_close(struct jobnets *j, struct jobnet_place *place, bool leave)
{
	struct error err = {0};

	if (place && place->tap_fd >= 0 && !leave &&
		jobnet_close(j->netlink, place->net.number, &err) < 0)
		log_warning("the network of a job: %s, trying again in %d s", err.text,
			(int)(SWEEP_US / 1000000));
	return place_free(place);
}

json_t *jobnet_to_json(const struct jobnet_place *place)
{
	const struct crew crew = {.count = place->net.count};
	char mac[CREW_MAC_SIZE], address[CREW_ADDRESS_SIZE];

	crew_mac(place->net.self, mac);
	crew_address(&crew, place->net.self, address);
	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:[]}", "name", "job", "mac", mac, "address",
		address, "prefix", CREW_PREFIX, "mtu", (int)place->mtu, "nameservers");
}
