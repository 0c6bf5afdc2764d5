/* A relay between QEMU and a vhost-user server, so that the server may die: QEMU 7.2 takes no other
 * one for a device, but it notices nothing while its end of the connection is there. Only a few
 * messages go this way when the device starts and ends; data do not. */
#pragma once

#include <systemd/sd-event.h>

#include "lib/base.h"

struct relay;

/* Takes `server_fd`, a connection to the server, and gives QEMU's end of another in `*ret_fd`, the
 * caller's. Returns 0 or negative errno. */
int relay_open(sd_event *event, int server_fd, struct relay **ret, int *ret_fd);

/* Takes a connection to another server, in place of one that has died, and tells it what the first
 * was told. What the guest had asked of the first and has no answer to, it asks this one. Returns 0
 * or negative errno; then, the relay is of no use any more. */
int relay_replace(struct relay *relay, int server_fd);

/* Ends both connections. Returns NULL. */
struct relay *relay_free(struct relay *relay);
DEFINE_CLEANUP(struct relay *, relay_free)
