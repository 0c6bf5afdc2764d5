/* Whether it is the node: VMs that do not start may have their users to blame, so the node starts
 * one of its own. */
#pragma once

#include <systemd/sd-event.h>

#include "hypervisor/servant.h"
#include "lib/digest.h"

struct trial;

/* Without a `servant` (NULL) nothing can be tried. */
int trial_new(sd_event *event, const struct settings *settings, struct servant *servant,
	struct trial **ret, struct error *err);
struct trial *trial_free(struct trial *t);
DEFINE_CLEANUP(struct trial *, trial_free)

/* Boots a VM from this image of the machine's store. `done` learns whether that worked, not before
 * this has returned. Returns 0, also if one is on its way already, or negative errno. */
int trial_start(struct trial *t, const char *digest, void (*done)(bool works, void *userdata),
	void *userdata, struct error *err);
