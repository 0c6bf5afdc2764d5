/* Gateways: the ways in which a host directory gets into a guest. Each is a table of functions, so
 * that the machine and the engine need not know which one serves a share. */
#pragma once

#include "lib/message.h"
#include "lib/strv.h"

struct gateway;

/* A host directory that the guest sees. */
struct vm_share {
	const struct gateway *gateway;
	char *source; /* absolute path on the host */
	char *target; /* absolute path in the guest */
	bool read_only;
};

struct gateway {
	const char *name;       /* "9p" */
	const char *filesystem; /* what the guest's kernel must be able to mount */
	uint64_t overhead_mib;  /* host memory that one share takes at most */
	/* Adds QEMU's arguments for share number `index`; NULL: for a slot that is not used. */
	void (*add_device)(const struct vm_share *share, size_t index, struct strv *argv);
	/* Fills the mount that the agent is to make; `source` is a buffer for the tag. */
	void (*fill_mount)(const struct vm_share *share, size_t index, char source[32],
		struct mount_request *ret);
};

extern const struct gateway gateway_9p;

/* Returns the gateway of this name, or NULL. */
const struct gateway *gateway_find(const char *name);
