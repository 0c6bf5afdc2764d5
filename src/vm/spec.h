/* What a VM is made of. Files are descriptors, already opened by whoever has the right to: the
 * machine does not care whether they come from the user's own store or from a daemon. */
#pragma once

#include "lib/base.h"
#include "vm/accel.h"
#include "vm/gateway.h"
#include "vm/tap.h"

#define VM_SHARES_MAX 24 /* PCIe slots that QEMU's q35 root bus leaves */

/* Names by which the guest finds its devices. */
#define VM_AGENT_PORT     "org.wnodes.agent.0"
#define VM_SCRATCH_SERIAL "wnodes-scratch"
#define VM_VOLUME_SERIAL  "wnodes-volume-" /* and its number */

/* Of the slots that shares leave. */
#define VM_VOLUMES_MAX 4

/* A volume of the site. */
struct vm_volume {
	int fd;              /* raw; -1: it is served by NBD within TLS, at: */
	const char *address; /* name or address of the node */
	uint64_t port;
	const char *id;   /* the export's name, and ours by the key */
	const char *keys; /* directory of the file with the key */
	bool read_only;
};

/* The address that the network card of a template has, and of a clone until its agent gives it one
 * of its own: a card's address is part of the state that is restored. */
#define VM_TEMPLATE_MAC "52:54:00:00:00:00"

/* The card is the same whatever it is connected to. */
enum vm_network {
	VM_NETWORK_NONE,
	VM_NETWORK_USER,
	VM_NETWORK_TAP,
	VM_NETWORK_STREAM, /* in a spec: the user network, served by passt */
};

/* How a VM comes to life. A template has the devices that its clones need, connected to nothing: a
 * network card, a scratch disk that is empty, and `slots` shares. So nothing is plugged in after a
 * clone has started, which takes a guest 0.3 s. */
enum vm_start {
	VM_START_BOOT,
	VM_START_TEMPLATE, /* boots, with its memory in a file, to be saved */
	VM_START_CLONE,    /* continues where the template was saved */
};

struct vm_spec {
	const char *name; /* shown in the process list */
	enum vm_start start;
	const char *qemu; /* program; NULL: qemu-system-x86_64 in PATH */
	enum accel accel;
	uint64_t cpus;
	uint64_t memory_mib;
	bool memory_merge;   /* lets KSM look for pages that VMs have in common */
	bool memory_balloon; /* free pages go back to the host; not with a file mapped privately */
	int memory_fd;       /* file that is the guest's memory; -1: anonymous */
	bool memory_huge;    /* of huge pages, which must be there; where it boots */
	bool pin_cpus;       /* as in pinning.h */
	bool memory_private; /* a clone's: what it writes does not reach the file */
	int state_fd;        /* clone: the devices' state, at its start; opened for this VM alone,
			      * as QEMU moves the offset */
	int kernel_fd, initrd_fd; /* -1: the firmware boots the disk */
	const char *command_line; /* of the kernel */
	int disk_fd;              /* base, read-only */
	const char *disk_format;  /* "raw" or "qcow2" */
	int template_overlay_fd;  /* clone: what the template wrote, read-only; -1: none */
	int overlay_fd; /* qcow2 without a backing name, read-write; -1: the base, raw and open for
			 * writing, is what the guest writes to */
	bool root_is_volume;    /* then: it is a block device, of at least root_bytes */
	uint64_t root_bytes;    /* what the guest sees of that; 0: all */
	uint64_t scratch_bytes; /* 0: no scratch disk */
	int scratch_fd;         /* it, raw, read-write; -1 in a template */
	bool scratch_is_volume; /* a block device, not a file */
	uint64_t disk_iops;     /* of root and scratch disk together, a second; 0: no limit */
	uint64_t disk_rate;     /* the same in bytes */
	bool direct_files;      /* what is written to files passes the host's page cache by */
	bool direct_volumes;    /* the same of volumes */
	const char *aio;        /* then: "io_uring", "native" or "threads" */
	bool disk_thread;       /* disks have a thread of their own beside QEMU's main loop */
	struct vm_volume volumes[VM_VOLUMES_MAX];
	size_t volume_count;
	int seed_fd;             /* ISO 9660, read-only; -1: none */
	enum vm_network network; /* a template only has the card for it */
	struct vm_tap tap;       /* of VM_NETWORK_TAP; none in a template; a clone has one queue */
	int stream_fd;           /* of VM_NETWORK_STREAM: a connected socket */
	const char *mac;         /* of the card, where the VM boots */
	struct vm_share shares[VM_SHARES_MAX];
	size_t share_count;
	size_t slots; /* of 9p shares in templates and clones, at least as many as there are */
};
