/* vhost-net: the host's kernel moves a card's frames itself, without QEMU between. Whoever has a
 * descriptor of its device needs no right to use it. */
#pragma once

#include "lib/error.h"

#define VHOSTNET_DEVICE "/dev/vhost-net"

/* Opens `path` for each of `count` queues. Returns `count`; 0 if it is no such device and is not
 * `needed`; else negative errno with what to do. */
int vhostnet_open(const char *path, size_t count, bool needed, int *ret_fds, struct error *err);
