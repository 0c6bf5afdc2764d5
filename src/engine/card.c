#include "engine/card.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

static bool take_text(json_t *json, const char *key, char *ret, size_t size)
{
	const char *text = json_string_value(json_object_get(json, key));

	snprintf(ret, size, "%s", text ? text : "");
	return text && strlen(text) < size;
}

static bool is_address(int family, const char *text)
{
	struct in6_addr unused;

	return inet_pton(family, text, &unused) == 1;
}

/* Those that are no addresses, or too many, are left out. */
static void take_nameservers(json_t *list, struct card *ret)
{
	size_t i, count = 0;
	json_t *item;

	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);

		if (!text || count == CARD_NAMESERVERS_MAX ||
			(!is_address(AF_INET, text) && !is_address(AF_INET6, text)))
			continue;
		snprintf(ret->nameserver_text[count], INET6_ADDRSTRLEN, "%s", text);
		ret->nameservers[count] = ret->nameserver_text[count];
		count++;
	}
}

/* A daemon from before there was any says none. */
static void take_ipv6(json_t *json, struct card *ret)
{
	json_int_t prefix = json_integer_value(json_object_get(json, "prefix6"));

	if (!take_text(json, "address6", ret->address6, sizeof(ret->address6)) ||
		!is_address(AF_INET6, ret->address6) || prefix < 1 || prefix > 128) {
		ret->address6[0] = '\0';
		return;
	}
	ret->prefix6 = (uint32_t)prefix;
	if (!take_text(json, "gateway6", ret->gateway6, sizeof(ret->gateway6)) ||
		!is_address(AF_INET6, ret->gateway6))
		ret->gateway6[0] = '\0';
}

int card_parse(json_t *json, struct card *ret, struct error *err)
{
	json_int_t prefix = json_integer_value(json_object_get(json, "prefix"));
	json_int_t mtu = json_integer_value(json_object_get(json, "mtu"));

	*ret = (struct card){.prefix = (uint32_t)prefix, .mtu = (uint32_t)mtu};
	if (!take_text(json, "mac", ret->mac, sizeof(ret->mac)) ||
		strlen(ret->mac) != CARD_MAC_SIZE - 1 ||
		!take_text(json, "address", ret->address, sizeof(ret->address)) ||
		!is_address(AF_INET, ret->address) || prefix < 1 || prefix > 32 || mtu < 0 ||
		mtu > UINT16_MAX)
		return fail(err, -EPROTO, "the node's daemon did not say the VM's address");
	if (!take_text(json, "gateway", ret->gateway, sizeof(ret->gateway)) ||
		!is_address(AF_INET, ret->gateway))
		ret->gateway[0] = '\0';
	take_nameservers(json_object_get(json, "nameservers"), ret);
	take_ipv6(json, ret);
	return 0;
}
