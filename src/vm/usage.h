/* What a VM's devices have moved. */
#pragma once

#include <jansson.h>

#include "lib/message.h"

struct vm_usage {
	bool has_disk; /* QEMU has said */
	uint64_t disk_read_bytes, disk_written_bytes;
	bool has_guest; /* the agent has said */
	uint64_t network_received_bytes, network_sent_bytes;
	uint32_t oom_kills;
};

/* Takes the answer to "query-blockstats": the sum over all disks. Returns 0 or -EPROTO. */
int usage_take_blockstats(struct vm_usage *u, json_t *result);

/* Takes the agent's answer to STATISTICS. Returns 0, -EPROTO, or the guest's own error. */
int usage_take_statistics(struct vm_usage *u, const struct reply *reply);
