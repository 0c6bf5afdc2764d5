#include "controller/place.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define LABEL_MAX       63
#define MAC_BYTES       6
#define LOWER_AND_DIGIT "abcdefghijklmnopqrstuvwxyz0123456789"

/* A pattern taken apart. It comes from outside, so that no printf() ever sees it. */
struct pattern {
	size_t before; /* bytes before the '%' */
	int width;
	const char *after;
};

static int parse_pattern(const char *text, struct pattern *ret, struct error *err)
{
	const char *percent = strchr(text, '%');

	if (!percent || percent[1] != '0' || percent[2] < '1' || percent[2] > '9' ||
		percent[3] != 'd' || strchr(percent + 4, '%'))
		return fail(err, -EINVAL,
			"'%s' is no pattern of host names; write the number once, as in wn-%%04d",
			text);
	*ret = (struct pattern){(size_t)(percent - text), percent[2] - '0', percent + 4};
	return 0;
}

static bool is_label(const char *text, size_t n)
{
	return n > 0 && n <= LABEL_MAX && text[0] != '-' && text[n - 1] != '-' &&
	       strspn(text, LOWER_AND_DIGIT "-") >= n;
}

static bool is_dns_name(const char *text)
{
	for (;;) {
		size_t n = strcspn(text, ".");

		if (!is_label(text, n))
			return false;
		if (!text[n])
			return true;
		text += n + 1;
	}
}

static int parse_address(const char *what, const char *text, uint32_t *ret, struct error *err)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1)
		return fail(err, -EINVAL, "%s '%s' is no IPv4 address", what, text);
	*ret = ntohl(address.s_addr);
	return 0;
}

/* Digits after colons: "52:54:01" -> 3 bytes. */
static int parse_mac_prefix(const char *text, uint8_t ret[MAC_BYTES], struct error *err)
{
	int count = 0;

	for (const char *p = text; count < MAC_BYTES; p += 3) {
		char byte[3] = {p[0], p[0] ? p[1] : '\0', '\0'};

		if (strspn(byte, "0123456789abcdef") != 2)
			break;
		ret[count++] = (uint8_t)strtoul(byte, NULL, 16);
		if (!p[2] && count >= 3 && count < MAC_BYTES)
			return count;
		if (p[2] != ':')
			break;
	}
	return fail(err, -EINVAL,
		"'%s' does not begin MAC addresses; write three to five bytes in lower-case hex, as "
		"52:54:01",
		text);
}

static int check_mac(const struct place_rule *rule, struct error *err)
{
	uint8_t bytes[MAC_BYTES];
	int count = parse_mac_prefix(rule->mac_prefix, bytes, err);

	if (count < 0)
		return count;
	if ((bytes[0] & 3) != 2)
		return fail(err, -EINVAL,
			"MAC addresses that begin with '%s' are not unicast and locally "
			"administered; the second digit is one of 2, 6, a and e",
			rule->mac_prefix);
	if (rule->size >= UINT64_C(1) << (8 * (MAC_BYTES - count)))
		return fail(err, -EINVAL,
			"'%s' begins fewer than %" PRIu64 " MAC addresses; give fewer bytes",
			rule->mac_prefix, rule->size + 1);
	return 0;
}

static int check_name(const struct place_rule *rule, struct error *err)
{
	struct pattern pattern;
	struct place last;
	int r = parse_pattern(rule->host_pattern, &pattern, err);

	if (r < 0)
		return r;
	if (rule->domain[0] && !is_dns_name(rule->domain))
		return fail(
			err, -EINVAL, "'%.128s' is no domain of lower-case names", rule->domain);
	place_make(rule, rule->size, &last);
	if (strlen(last.name) >= PLACE_NAME_MAX || strchr(rule->host_pattern, '.') ||
		!is_dns_name(last.name))
		return fail(err, -EINVAL,
			"'%s' makes names such as '%.80s', which are no host names: a-z, 0-9 and "
			"'-' make one",
			rule->host_pattern, last.name);
	return 0;
}

/* Are they addresses of hosts? */
static bool is_for_hosts(uint32_t address)
{
	uint32_t top = address >> 24;

	return top != 0 && top != 127 && top < 224;
}

static int check_range(const struct place_rule *rule, struct error *err)
{
	uint32_t first = 0, gateway = 0, mask;
	uint64_t last;
	int r = parse_address("first_address", rule->first_address, &first, err);

	if (r == 0 && rule->gateway[0])
		r = parse_address("gateway", rule->gateway, &gateway, err);
	if (r < 0)
		return r;
	mask = ~UINT32_C(0) << (32 - rule->prefix);
	last = first + rule->size - 1;
	if (!is_for_hosts(first) || last > UINT32_MAX || (last & mask) != (first & mask) ||
		(first & ~mask) == 0 || (uint32_t)(last | mask) == UINT32_MAX)
		return fail(err, -EINVAL,
			"%" PRIu64
			" addresses from %s on are not all of hosts within its network of %" PRIu64
			" bits; begin lower, or ask for fewer",
			rule->size, rule->first_address, rule->prefix);
	if (gateway &&
		((gateway & mask) != (first & mask) || (gateway >= first && gateway <= last)))
		return fail(err, -EINVAL,
			"the gateway %s is not in the network beside the %" PRIu64
			" addresses from %s on",
			rule->gateway, rule->size, rule->first_address);
	return 0;
}

int place_check_rule(const struct place_rule *rule, struct error *err)
{
	int r;

	if (rule->size < 1 || rule->size > PLACE_COUNT_MAX)
		return fail(
			err, -EINVAL, "a pool has 1 to %d places; make several", PLACE_COUNT_MAX);
	if (rule->prefix < 8 || rule->prefix > 30)
		return fail(err, -EINVAL, "a network of %" PRIu64 " bits is none from 8 to 30",
			rule->prefix);
	r = check_name(rule, err);
	if (r == 0)
		r = check_range(rule, err);
	return r < 0 ? r : check_mac(rule, err);
}

static void make_mac(const struct place_rule *rule, uint64_t number, char ret[PLACE_MAC_MAX])
{
	uint8_t b[MAC_BYTES] = {0};
	struct error unused;
	int count = parse_mac_prefix(rule->mac_prefix, b, &unused);

	for (int i = MAC_BYTES - 1; i >= count && count > 0; i--, number >>= 8)
		b[i] = (uint8_t)number;
	snprintf(ret, PLACE_MAC_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
		b[5]);
}

void place_make(const struct place_rule *rule, uint64_t number, struct place *ret)
{
	struct pattern p = {0, 1, ""};
	struct error unused;
	uint32_t first = 0;
	struct in_addr address;

	*ret = (struct place){0};
	parse_pattern(rule->host_pattern, &p, &unused);
	snprintf(ret->name, sizeof(ret->name), "%.*s%0*" PRIu64 "%s%s%s", (int)p.before,
		rule->host_pattern, p.width, number, p.after, rule->domain[0] ? "." : "",
		rule->domain);
	parse_address("", rule->first_address, &first, &unused);
	address.s_addr = htonl(first + (uint32_t)number - 1);
	inet_ntop(AF_INET, &address, ret->address, sizeof(ret->address));
	make_mac(rule, number, ret->mac);
}
