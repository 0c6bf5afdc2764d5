/* The keeper, as in hypervisor/keeper.h, that alone may mount directories for the node's NFS server
 * and tell it of them:
 *
 *   {"op":"add","name","uid","gid","read_only":b}, with the directory -> {"op","name"}
 *   {"op":"remove","name"}                                            -> {"op","name"}
 *   {"op":"list"}                                                     -> {"op","names":[...]}
 *
 * Names are those of storage/export.h. */
#pragma once

#include "engine/settings.h"

/* Starts it where [node] nfs says so. Returns 1 and the daemon's end of the connection, 0 if there
 * is none, or negative errno. */
int exportkeeper_start(
	const struct settings *settings, const char *state, int *ret_fd, struct error *err);
