/* Networks: the sections [network NAME] of a file, or, where it begins with a brace, what the
 * node's daemon says of the card that it lends ("network" of the answer to `open`). */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "engine/card.h"
#include "engine/network.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What goes into the guest is an address, or nothing. */
static void check_card(const uint8_t *data, size_t size)
{
	json_t *json = json_loadb((const char *)data, size, 0, NULL);
	struct in6_addr unused;
	struct error err = {0};
	struct card card;
	int r = card_parse(json, &card, &err);

	assert(r == 0 || (r == -EPROTO && err.text[0]));
	if (r == 0) {
		assert(strlen(card.mac) == CARD_MAC_SIZE - 1);
		assert(inet_pton(AF_INET, card.address, &unused) == 1);
		assert(!card.gateway[0] || inet_pton(AF_INET, card.gateway, &unused) == 1);
		assert(card.prefix >= 1 && card.prefix <= 32 && card.mtu <= UINT16_MAX);
		for (const char **i = card.nameservers; *i; i++)
			assert(inet_pton(AF_INET, *i, &unused) == 1 ||
				inet_pton(AF_INET6, *i, &unused) == 1);
	}
	json_decref(json);
}

static void check_network(const struct networks *all, const struct network *network)
{
	struct network_range range;
	struct in6_addr address;
	uint8_t prefix;

	assert(networks_find(all, network->name));
	assert(strlen(network->name) < NETWORK_NAME_MAX);
	assert(network_check_name(network->name, NULL) == 0);
	assert(!network->bridge || !network->uplink);
	if (network_get_range(network, &range) == 0)
		assert(range.first <= range.last && range.prefix <= 32);
	if (network->node_address)
		assert(network_parse_prefix(network->node_address, &address, &prefix, NULL) > 0);
}

static void check_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("networks", MFD_CLOEXEC), r;
	struct networks networks;
	struct error err = {0};
	char path[40];

	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = networks_load(&networks, "/nonexistent", path, &err);
	assert(r == 0 || (r == -EINVAL && err.text[0]));
	for (size_t i = 0; i < networks.list.count; i++)
		check_network(&networks, networks.list.items[i].settings);
	networks_done(&networks);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && data[0] == '{')
		check_card(data, size);
	else
		check_file(data, size);
	return 0;
}
