/* What a host can do to make VMs faster, and what of it is used: by the settings, and only where
 * the host has it. */
#pragma once

#include "engine/settings.h"
#include "vm/spec.h"

/* Free huge pages of the size that is the default of the kernel, in MiB; 0: none. */
uint64_t tuning_huge_mib(void);

/* May we use io_uring? */
bool tuning_has_io_uring(void);

/* Does the file system of this file, which must be open for writing, do without the page cache? A
 * volume always does. */
bool tuning_is_direct(int fd);

/* Fills what the settings say of memory, disks and CPUs, for a VM that boots or is cloned; its
 * descriptors must be there. What a host cannot do is left out. */
void tuning_fill_spec(const struct settings *settings, struct vm_spec *spec);

/* Is a VM of this setting to boot, whatever templates there are? */
bool tuning_forbids_clones(const struct settings *settings);
