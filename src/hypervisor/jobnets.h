/* The networks of jobs of several nodes, as far as this node has VMs on them (net/jobnet.h).
 *
 * Nothing of them is kept: whose connection ends gives its network back, and what is left where the
 * daemon was killed meanwhile is known by its devices, and swept when its VM's tap is gone. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "engine/settings.h"
#include "net/jobnet.h"

struct jobnets;

/* Removes what dead VMs have left, if there are rights for it, and looks again now and then.
 * Returns 0 or negative errno. */
int jobnets_new(sd_event *event, const struct settings *settings, struct jobnets **ret);
struct jobnets *jobnets_free(struct jobnets *j);

/* A VM's place in the network of its job. */
struct jobnet_place {
	struct jobnet net;
	struct jobnet_member *members; /* of `net` */
	int tap_fd;                    /* -1: not made yet */
	uint32_t mtu;
};

/* Checks what a VM's program has sent: {"key":"32 hex digits","index":n,"nodes":["ADDRESS",...]}.
 * Makes nothing. Returns 0 or negative errno with what to do. */
int jobnets_parse(
	const struct jobnets *j, const json_t *json, struct jobnet_place **ret, struct error *err);

/* Makes the network on this node. Returns 0 or negative errno. */
int jobnets_open(struct jobnets *j, struct jobnet_place *place, struct error *err);

/* Takes it back. NULL is none. With `leave` the VM goes on. */
struct jobnet_place *jobnets_close(struct jobnets *j, struct jobnet_place *place, bool leave);

/* What the VM is to be told, as tap_to_json(). A new object. */
json_t *jobnet_to_json(const struct jobnet_place *place);
