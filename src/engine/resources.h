/* Where a VM's resources come from: the node's daemon where there is one, else the user's own
 * directories. The engine does not know which. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "engine/local.h"

/* `why` is NULL when all is there. */
typedef void (*resources_fn)(const char *why, void *userdata);

/* Gets what the request needs. Returns 0 if it is there, 1 if `done` will be called, or negative
 * errno with what to do: -ESHUTDOWN where the node takes no VMs now, -EHOSTDOWN where its daemon,
 * which must be there, does not answer. `request`, `ret` and `err` must stay until then;
 * resources_close() ends the wait. */
int resources_open(sd_event *event, const struct request *request, struct resources *ret,
	resources_fn done, void *userdata, struct error *err);

/* Takes descriptors that came with their names (an array), and leaves those that it does not know,
 * or has already, to the caller. */
void resources_take(struct resources *r, json_t *names, int *fds, size_t count);

/* Gives all back. */
void resources_close(struct resources *r);
