/* Names of VMs, told to a site's DNS or DHCP: a program of the administrator's, [node] name_hook,
 * is run without rights when a VM on a network of the node has got a name and an address by a
 * lease, and when it has ended:
 *
 *   PROGRAM add|remove NAME ADDRESS MAC [IPV6-ADDRESS]
 *
 * One at a time, in order, never while a VM waits for it. What was told is noted in a file, so that
 * the end of a VM that nobody has seen end is told by the next daemon; the program may be called
 * twice with the same words. One that fails is tried again, some times. */
#pragma once

#include <systemd/sd-event.h>

#include "engine/settings.h"
#include "hypervisor/servant.h"

struct names;

/* `state` is the daemon's directory. Without a servant (NULL) nothing is ever told. Returns 0 or
 * negative errno. */
int names_new(sd_event *event, const struct settings *settings, struct servant *servant,
	const char *state, struct names **ret, struct error *err);
struct names *names_free(struct names *n);
DEFINE_CLEANUP(struct names *, names_free)

/* All are texts: `vm` is the id of its usage record, `address6` may be "". What had the same name
 * or address before is told first to be gone. */
struct name_told {
	const char *vm, *name, *address, *mac, *address6;
};
void names_add(struct names *n, const struct name_told *told);

/* The VM of a daemon before us has come back. */
void names_claim(struct names *n, const char *vm);

/* It has ended; one without a name is passed over. */
void names_remove(struct names *n, const char *vm);

/* How many are still to be told. */
size_t names_pending(const struct names *n);
