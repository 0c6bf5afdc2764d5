/* A descriptor of the caller's (its stdin, stdout, stderr), made safe for an event loop.
 *
 * Setting O_NONBLOCK on an inherited descriptor would set it for every process that shares it. A
 * pipe or a terminal is therefore opened anew through /proc, which gives us flags of our own; where
 * that is refused, writes are made small enough not to block once poll(2) has said "writable".
 * Regular files never block for long and are always ready. */
#pragma once

#include <systemd/sd-event.h>

#include "lib/error.h"

struct endpoint;

/* Called when the endpoint can be read from or written to. */
typedef void (*endpoint_fn)(struct endpoint *e, void *userdata);

/* Takes `fd`. `writing` says in which direction. It starts disabled. Returns 0 or -errno. */
int endpoint_open(sd_event *event, int fd, bool writing, endpoint_fn ready, void *userdata,
	struct endpoint **ret);
struct endpoint *endpoint_free(struct endpoint *e);
DEFINE_CLEANUP(struct endpoint *, endpoint_free)

/* Whether `ready` is called. */
void endpoint_enable(struct endpoint *e, bool on);

/* As read(2) and write(2), returning negative errno; -EAGAIN: wait for `ready`. */
ssize_t endpoint_read(struct endpoint *e, void *data, size_t max);
ssize_t endpoint_write(struct endpoint *e, const void *data, size_t length);
