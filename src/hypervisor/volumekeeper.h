/* The keeper, as in hypervisor/keeper.h, that alone may use LVM:
 *
 *   {"op":"make","name","bytes":n}   -> {"op","name","bytes":n} and a descriptor: a new volume,
 * with an empty file system, or with "bare":true without one
 *   {"op":"snapshot","name","of"}    -> the same: a snapshot of that volume
 *   {"op":"mark","name","digest"}    -> {"op","name"}: the image with this digest lies on it
 *   {"op":"remove","name","discard":b,"cut":b}
 *                                    -> {"op","name","busy":b}: somebody has it open
 *   {"op":"list"}                    -> {"op","names":[...],"images":{NAME:DIGEST,...}}: all of
 * this node, and which images are on them */
#pragma once

#include "engine/settings.h"

/* Starts it where there is a volume group, with a lock in `state`. Returns 1 and the daemon's end
 * of the connection, 0 if there is no volume group, or negative errno. */
int volumekeeper_start(
	const struct settings *settings, const char *state, int *ret_fd, struct error *err);
