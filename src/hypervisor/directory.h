/* Directories that are origins of images, opened for wnodes-porter, each on a thread of its own:
 * the file server of one may not answer, and the loop waits for nobody. */
#pragma once

#include <systemd/sd-event.h>

#include "lib/error.h"

struct directories;

/* `opened` is called by the loop when one that was being opened is open, or cannot be. */
int directories_new(sd_event *event, void (*opened)(void *userdata), void *userdata,
	struct directories **ret, struct error *err);

/* One that hangs ends with its file server, or with us. */
struct directories *directories_free(struct directories *d);
DEFINE_CLEANUP(struct directories *, directories_free)

/* Returns a descriptor, the caller's, or begins to open it and returns -EAGAIN; then `opened` tells
 * when to ask again. Each is opened anew for who asks, as something may have been mounted there
 * meanwhile. Returns another negative errno where it cannot be opened. */
int directories_open(struct directories *d, const char *path, struct error *err);
