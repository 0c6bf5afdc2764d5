/* Maps the groups of a client in a user namespace of its own. A user may map one group alone, which
 * is not enough for who is to use the files of a group. */
#pragma once

#include <sys/types.h>

#include "hypervisor/peer.h"
#include "lib/error.h"

/* In the user namespace that `pid`, a child of the one at the other end of `socket`, has made: maps
 * the groups that it has by the kernel's word, each to itself. It cannot give up one of them there,
 * as a file may be closed to a group. Returns 0 or negative errno. */
int groups_map(int socket, const struct peer *peer, pid_t pid, struct error *err);

/* The text of such a map: `gid`, and the others, each once. NULL when out of memory. */
char *groups_format(gid_t gid, const gid_t *groups, size_t count);
