/* IPv6 of one interface, beside what its kernel does by itself. */
#pragma once

#include "lib/error.h"
#include "lib/message.h"

/* Before the interface is brought up: its addresses are nobody else's, which the node sees to, so
 * that nobody is asked for a second whether they are. Does nothing where no address is wanted. */
void network6_expect(const char *root, const char *name, const struct network_request *x);

/* Sets the address and the way out. A kernel without IPv6 goes without. Returns 0 or negative
 * errno. */
int network6_set(const char *name, const struct network_request *x, struct error *err);
