/* Whether the node takes VMs: an administrator may drain it, and so does it itself when one VM
 * after the other fails to start. Kept in a file, as a restart changes nothing about it. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "engine/settings.h"

struct drain;

int drain_new(sd_event *event, const struct settings *settings, const char *state,
	struct drain **ret, struct error *err);
struct drain *drain_free(struct drain *d);
DEFINE_CLEANUP(struct drain *, drain_free)

/* Why no VM is taken, or NULL. */
const char *drain_reason(const struct drain *d);

/* By an administrator, or by ourselves (`uid` 0). The batch system is told, now or by the next
 * daemon. Returns 0 or negative errno: then it holds until the daemon ends. */
int drain_set(struct drain *d, const char *reason, uid_t uid, struct error *err);
int drain_clear(struct drain *d, struct error *err);

/* A VM of this user did not start, or did. */
void drain_note_failure(struct drain *d, uid_t uid, const char *reason);
void drain_note_success(struct drain *d);

/* A new object: drained, reason, since, failures in a row. */
json_t *drain_to_json(const struct drain *d);
