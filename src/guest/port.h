/* Ports of virtio-serial, by their names. */
#pragma once

#include "lib/base.h"

#define PORT_NAME_SIZE 64

/* Finds the device of the port `name`. Returns 0 or -ENOENT. */
int port_find(const char *name, char *ret, size_t size);

/* The names of the ports that begin with `prefix`, at most `max`. Returns their number. */
size_t port_list(const char *prefix, char (*ret)[PORT_NAME_SIZE], size_t max);
