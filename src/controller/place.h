/* The places of a pool: host name, MAC and IPv4 address for one VM each, all made by one rule. */
#pragma once

#include "lib/error.h"

#define PLACE_NAME_MAX    254 /* of a DNS name, with NUL */
#define PLACE_PATTERN_MAX 64
#define PLACE_ADDRESS_MAX 16
#define PLACE_MAC_MAX     18

/* The most of one pool: making them is one transaction, for which all others wait. */
#define PLACE_COUNT_MAX 65536

/* The rule, as people write it. */
struct place_rule {
	char host_pattern[PLACE_PATTERN_MAX];  /* "wn-%04d" */
	char domain[PLACE_NAME_MAX];           /* "" for none */
	char first_address[PLACE_ADDRESS_MAX]; /* of place 1 */
	char gateway[PLACE_ADDRESS_MAX];       /* "" for none */
	char mac_prefix[PLACE_MAC_MAX];        /* three to five bytes of a MAC, "52:54:01" */
	uint64_t prefix;                       /* bits of the network */
	uint64_t size;
};

struct place {
	char name[PLACE_PATTERN_MAX + 32 + PLACE_NAME_MAX];
	char mac[PLACE_MAC_MAX];
	char address[PLACE_ADDRESS_MAX];
};

/* Returns 0, or -EINVAL with what is wrong: of a rule that passes, every place from 1 to `size` has
 * a valid name, a unicast locally administered MAC and an address of hosts within the network that
 * is not the gateway's. */
int place_check_rule(const struct place_rule *rule, struct error *err);

/* A place of a rule that was checked. */
void place_make(const struct place_rule *rule, uint64_t number, struct place *ret);
