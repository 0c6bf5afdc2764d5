/* The network card of a VM on one of the node's networks: the addresses that the node's daemon has
 * chosen, and lets the VM send with, and no others. */
#pragma once

#include <jansson.h>
#include <netinet/in.h>

#include "lib/error.h"

#define CARD_MAC_SIZE        18
#define CARD_NAMESERVERS_MAX 8

struct card {
	char mac[CARD_MAC_SIZE]; /* "": there is no such card */
	char address[INET_ADDRSTRLEN];
	uint32_t prefix;
	char gateway[INET_ADDRSTRLEN];   /* "": none */
	char address6[INET6_ADDRSTRLEN]; /* "": none that is set */
	uint32_t prefix6;
	char gateway6[INET6_ADDRSTRLEN]; /* "": what routers advertise */
	uint32_t mtu;                    /* 0: the usual one */
	char nameserver_text[CARD_NAMESERVERS_MAX][INET6_ADDRSTRLEN];
	const char *nameservers[CARD_NAMESERVERS_MAX + 1]; /* the same, NULL-terminated */
};

/* Reads what the daemon's answer says: {"mac","address","prefix","gateway","mtu","nameservers",
 * "address6","prefix6","gateway6"}.
 * `ret` must stay where it is. Returns 0 or -EPROTO. */
int card_parse(json_t *json, struct card *ret, struct error *err);
