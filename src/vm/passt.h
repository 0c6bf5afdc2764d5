/* passt: the network of a VM whose user has no rights over networks, beside QEMU's own. It is a
 * program between the VM's card and sockets of the user's, in a user namespace of its own. */
#pragma once

#include "vm/gateway.h"

/* The largest packet that both ends take: 65520 bytes are what passt itself tells guests. */
#define PASST_MTU 65520

/* Where it is, for the caller to free; NULL, with the reason and what to do, where it is not
 * installed or the host lets users have no user namespaces. */
char *passt_find(struct error *err);

/* Starts it as a child with the addresses of QEMU's own user network, so that a guest sees no
 * difference. Fills the helper, whose fd is QEMU's end and which gateway_helper_stop() ends; it
 * ends with that fd. Returns 0 or negative errno. */
int passt_start(const char *program, struct gateway_helper *ret, struct error *err);
