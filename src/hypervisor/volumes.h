/* The volumes of a node that VMs are lent: a few are ready before anybody asks, as making one takes
 * a good part of a second; what comes back is emptied and removed; what an earlier daemon has left
 * is removed when nobody has it open. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "engine/settings.h"

struct volumes;
struct volume;

/* Called from the loop, once: `volume` is lent, or NULL and `why`. */
typedef void (*volume_fn)(struct volume *volume, const char *why, void *userdata);

/* Takes `keeper_fd`, of volumekeeper_start(). `settings` must stay; the volumes that are kept ready
 * follow them. The end of the keeper ends the event loop: a daemon that is started anew has one. */
int volumes_new(sd_event *event, int keeper_fd, const struct settings *settings,
	struct volumes **ret, struct error *err);

/* What is lent stays with who has it. */
struct volumes *volumes_free(struct volumes *v);

/* Asks for one of `bytes`, with an empty file system. Returns 1 and the volume, 0 if `done` will be
 * called, or negative errno. */
int volumes_take(
	struct volumes *v, uint64_t bytes, volume_fn done, void *userdata, struct volume **ret);

/* Nothing is called for this caller any more. */
void volumes_cancel(struct volumes *v, const void *userdata);

/* Takes back a volume: whoever has it open finds it empty, and after a while broken. */
void volumes_return(struct volumes *v, struct volume *volume);

/* Finds the volume that `fd` is, which an earlier daemon has lent; NULL: it is none. */
struct volume *volumes_claim(struct volumes *v, int fd);

/* Borrowed; -1 for one that was claimed. */
int volume_fd(const struct volume *volume);

/* For `wnodes node show`; NULL without volumes. */
json_t *volumes_to_json(const struct volumes *v);
