/* The initial file system of built images: the agent as /init, and the modules that it needs to
 * reach the root disk, the host and the shares. */
#pragma once

#include "lib/error.h"

/* Writes an uncompressed cpio archive to `out_fd`:
 *
 *   /init            the agent
 *   /modules         the modules' paths, one a line, in the order in which to load them
 *   /lib/modules/    the modules
 *   /dev /proc /sys /root, /dev/console
 *
 * `root_fd` is the directory with the unpacked root file system, `release` the kernel's ("uname
 * -r"), `agent` the path of the agent, `modules` (NULL-terminated) more of them by name: -ENOENT if
 * the kernel has not got one. Returns 0 or negative errno. */
int initrd_write(int out_fd, int root_fd, const char *release, const char *agent,
	const char *const *modules, struct error *err);
