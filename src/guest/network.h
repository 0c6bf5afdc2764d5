/* NETWORK: addresses, the default route and the resolver. */
#pragma once

#include "lib/error.h"

int network_up_loopback(void);

/* Lets the drivers of all cards fill their queues and see their links, which takes milliseconds
 * when a card is first brought up. Cards that are up already or cannot be are left. */
void network_warm(void);

/* Writes root/etc/resolv.conf; leaves it if there is no server. Returns 0 or negative errno. */
int network_set_resolver(const char *root, const char *const *servers, struct error *err);
