/* What a built image boots from: the kernel of its root file system, and an initial file system
 * with this program's agent. */
#pragma once

#include "image/rootfs.h"
#include "image/store.h"

/* Each puts the part into the store, and into the manifest under its kind. Returns 0 or negative
 * errno. `modules` (NULL-terminated) are loaded at each start beside those that every VM needs. */
int bootparts_add_kernel(
	struct store *s, const struct rootfs *rootfs, struct manifest *m, struct error *err);
int bootparts_add_initrd(struct store *s, const struct rootfs *rootfs, const char *const *modules,
	struct manifest *m, struct error *err);

/* What the agent says about itself: its version, for the caller to free, or NULL. */
char *bootparts_agent_version(struct error *err);
