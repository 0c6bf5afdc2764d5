/* The node's word to its site, for as long as the daemon lives: heartbeats, usage records, leases,
 * the configuration, and a new certificate in time. */
#pragma once

#include "lib/error.h"

/* `fd` is the daemon's socket, taken. Returns when the daemon has ended (-ECONNRESET), when we are
 * to be started anew (0), or when something is wrong (another negative errno). */
int courier_run(int fd, struct error *err);
