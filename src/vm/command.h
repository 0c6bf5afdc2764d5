/* QEMU's command line for a VM. */
#pragma once

#include "lib/strv.h"
#include "vm/spec.h"

/* QEMU's ends of the three channels; it inherits them under these numbers. */
struct command_channels {
	int qmp_fd, agent_fd, console_fd;
};

/* Writes the whole command line, program first. Returns 0 or -ENOMEM.
 *
 * Only the devices that the VM needs are there (-nodefaults), files arrive as descriptors, and
 * QEMU's seccomp filter is on with everything denied that can be. Source: qemu-system-x86_64(1),
 * version 7.2. */
int command_build(
	const struct vm_spec *spec, const struct command_channels *channels, struct strv *ret_argv);

/* Lists the descriptors in `spec` and `channels` that QEMU must inherit; `ret` has room for
 * COMMAND_FDS_MAX. Returns their number. */
#define COMMAND_FDS_MAX (13 + 2 * VM_QUEUES_MAX + VM_SHARES_MAX + VM_VOLUMES_MAX)
size_t command_descriptors(const struct vm_spec *spec, const struct command_channels *channels,
	int ret[COMMAND_FDS_MAX]);
