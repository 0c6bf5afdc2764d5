/* The start of a VM: from the kernel's hand-over to the root file system. */
#pragma once

#include "lib/error.h"

/* Is this process PID 1 in an initramfs? */
bool boot_is_initrd(void);

/* In the initrd: loads modules, mounts the root file system and makes it the root. Runs the init
 * that `wnodes.init=` names, if any, and then does not return. Returns 0 or negative errno. */
int boot_root(struct error *err);

/* As PID 1 on the root file system: mounts what every program expects, brings up the loopback. */
void boot_system(void);
