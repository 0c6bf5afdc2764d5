/* The volumes of a node that VMs are lent: empty ones, and snapshots of those with an image on
 * them. A few are ready before anybody asks, as making one takes a good part of a second; what
 * comes back is emptied and removed; what an earlier daemon has left is removed when nobody has it
 * open. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "engine/settings.h"

struct volumes;
struct volume;

struct volumes_events {
	/* An earlier daemon has left it: the image of this digest is on it. */
	void (*on_image)(struct volume *volume, const char *digest, void *userdata);
	/* It is known now what there is, or that it cannot be known. */
	void (*on_listed)(void *userdata);
	void (*on_full)(void *userdata); /* one could not be made, as there is no room */
	void *userdata;
};

/* Called from the loop, once: `volume` is lent, or NULL and `why`. */
typedef void (*volume_fn)(struct volume *volume, const char *why, void *userdata);

/* Takes `keeper_fd`, of volumekeeper_start(). `settings` must stay; the volumes that are kept ready
 * follow them. The end of the keeper ends the event loop: a daemon that is started anew has one. */
int volumes_new(sd_event *event, int keeper_fd, const struct settings *settings,
	struct volumes **ret, struct error *err);

/* Before the loop runs: who keeps images on volumes. */
void volumes_watch(struct volumes *v, const struct volumes_events *events);

/* What is lent stays with who has it, and images stay. */
struct volumes *volumes_free(struct volumes *v);

/* Asks for one of `bytes`, with an empty file system. Returns 1 and the volume, 0 if `done` will be
 * called, or negative errno. */
int volumes_take(
	struct volumes *v, uint64_t bytes, volume_fn done, void *userdata, struct volume **ret);

/* The same of a snapshot of `image`, a volume with an image on it. */
int volumes_take_snapshot(struct volumes *v, const struct volume *image, volume_fn done,
	void *userdata, struct volume **ret);

/* Makes one of `bytes` for an image, without a file system. Returns 0, and `done` will be called,
 * or negative errno. */
int volumes_make_bare(struct volumes *v, uint64_t bytes, volume_fn done, void *userdata);

/* Closes it, and says for good that this image is on it: `done` is called with it, or with NULL and
 * why not. From then on it is there for snapshots, until volumes_return(). */
void volumes_mark(struct volumes *v, struct volume *volume, const char *digest, volume_fn done,
	void *userdata);

/* Has somebody a snapshot of it, or waits for one? */
bool volumes_is_used(const struct volumes *v, const struct volume *image);

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
