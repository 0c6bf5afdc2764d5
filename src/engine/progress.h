/* One line on the user's terminal while a VM is on its way: the phase and its time. It is wiped
 * before anything else is printed, and before the command runs. */
#pragma once

#include <systemd/sd-event.h>

#include "engine/phase.h"

struct progress;

/* Shows `phases` on stderr from now on, after a moment in which nothing need be said. `stderr` must
 * be a terminal. Returns 0 or negative errno. */
int progress_start(sd_event *event, const struct phase_clock *phases, struct progress **ret);

/* Asks `note` for what else is to be said, each time; it may return NULL. */
void progress_set_note(
	struct progress *p, const char *(*note)(const void *userdata), const void *userdata);

/* Wipes the line and ends. */
struct progress *progress_stop(struct progress *p);
DEFINE_CLEANUP(struct progress *, progress_stop)
