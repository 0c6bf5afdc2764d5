/* What the daemon may do as root, made small before it hears anyone. */
#pragma once

#include "lib/error.h"

/* Drops all capabilities but the named few for us and all that we start, forbids the system calls
 * that nothing of ours makes, core files and new privileges, and raises the limit of descriptors.
 * Without root only the latter. Returns 0 or negative errno. */
int rights_drop(struct error *err);

/* The same for the process beside the daemon that keeps the node's volumes: what LVM needs stays.
 */
int rights_drop_to_volumes(struct error *err);

/* The same for the one that has the node's NFS server serve directories. */
int rights_drop_to_exports(struct error *err);
