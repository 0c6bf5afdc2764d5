/* A connection to the daemon: a VM, or somebody who asks about the node. What it was lent is taken
 * back when it ends. */
#pragma once

#include <jansson.h>

#include "hypervisor/allowance.h"
#include "hypervisor/peer.h"

struct hypervisor;
struct client;

/* Takes `fd`, and counts off `allowance` at the end, at which `gone` is called; NULL when out of
 * memory, and then nothing is taken but `fd`. */
struct client *client_new(struct hypervisor *h, int fd, const struct peer *peer,
	struct allowance *allowance, void (*gone)(struct client *c, void *userdata),
	void *userdata);

/* Ends the connection. What the worker does for it is waited for elsewhere. */
void client_end(struct client *c);

/* Ends one that has asked for nothing for too long; cuts its files to their limits. */
void client_sweep(struct client *c, uint64_t now_us);

/* Its VM as a new object for `wnodes node show`, or NULL if it has none. */
json_t *client_to_json(const struct client *c);
/* The same for the site, with what does not change by itself; NULL for one that was lent nothing
 * yet. */
json_t *client_to_site_json(const struct client *c);
/* Of the image that its VM has, or is to have; "": none. */
const char *client_digest(const struct client *c);
uid_t client_uid(const struct client *c);

/* Of the slots: a client's slot is granted, or its place has changed. */
struct slot;
void client_on_granted(struct slot *slot);
void client_on_moved(struct slot *slot);
