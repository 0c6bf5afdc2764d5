/* What a VM is made of. Files are descriptors, already opened by whoever has the right to: the
 * machine does not care whether they come from the user's own store or from a daemon. */
#pragma once

#include "lib/base.h"
#include "vm/accel.h"
#include "vm/gateway.h"

#define VM_SHARES_MAX 24 /* PCIe slots that QEMU's q35 root bus leaves */

/* Names by which the guest finds its devices. */
#define VM_AGENT_PORT     "org.wnodes.agent.0"
#define VM_SCRATCH_SERIAL "wnodes-scratch"

enum vm_network { VM_NETWORK_NONE, VM_NETWORK_USER };

struct vm_spec {
	const char *name; /* shown in the process list */
	const char *qemu; /* program; NULL: qemu-system-x86_64 in PATH */
	enum accel accel;
	uint64_t cpus;
	uint64_t memory_mib;
	int kernel_fd, initrd_fd; /* -1: the firmware boots the disk */
	const char *command_line; /* of the kernel */
	int disk_fd;              /* base, read-only */
	const char *disk_format;  /* "raw" or "qcow2" */
	int overlay_fd;           /* qcow2 without a backing name, read-write */
	int scratch_fd;           /* raw, read-write; -1: none */
	int seed_fd;              /* ISO 9660, read-only; -1: none */
	enum vm_network network;
	const char *mac; /* of the network card */
	struct vm_share shares[VM_SHARES_MAX];
	size_t share_count;
};
