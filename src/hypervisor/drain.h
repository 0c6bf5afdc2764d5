/* Whether the node takes VMs: an administrator may drain it, and so does it itself when one VM
 * after the other fails to start. Kept in a file, as a restart changes nothing about it. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "engine/settings.h"
#include "hypervisor/trial.h"

struct drain;

int drain_new(sd_event *event, const struct settings *settings, const char *state,
	struct trial *trial, struct drain **ret, struct error *err);
struct drain *drain_free(struct drain *d);
DEFINE_CLEANUP(struct drain *, drain_free)

/* `changed` is called whenever the node is drained or resumed. */
void drain_watch(struct drain *d, void (*changed)(void *userdata), void *userdata);

/* Why no VM is taken, or NULL. */
const char *drain_reason(const struct drain *d);

/* By an administrator, or by ourselves (`uid` 0). The batch system is told, now or by the next
 * daemon. Returns 0 or negative errno: then it holds until the daemon ends. */
int drain_set(struct drain *d, const char *reason, uid_t uid, struct error *err);
int drain_clear(struct drain *d, struct error *err);

/* A VM of this user, of this image of the machine's, did not start, or one did. After [node]
 * failures in a row that did not, a VM of the node's own decides whether the node drains itself. */
void drain_note_failure(struct drain *d, uid_t uid, const char *digest, const char *reason);
void drain_note_success(struct drain *d);

/* A new object: drained, reason, since, failures in a row. */
json_t *drain_to_json(const struct drain *d);
