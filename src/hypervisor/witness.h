/* What the daemon knows of a VM by itself, as a usage record: of whom it was lent to, by the
 * kernel, and what was lent. It stands above what the VM's program tells, and is all that there is
 * when that program was killed. */
#pragma once

#include <jansson.h>

#include "hypervisor/call.h"
#include "hypervisor/peer.h"

/* What a VM's processes have used, as far as it was seen. */
struct witness_usage {
	bool known;
	uint64_t user_us, system_us, peak_bytes;
	bool has_network; /* a tap, whose kernel counts */
	uint64_t received_bytes, sent_bytes;
};

struct witness {
	const char *record_id;
	const char *node;
	const struct peer *peer;
	const struct call *lent; /* `open` or `hold` */
	bool own_image;          /* what is said of the image is the user's word */
	const char *digest;
	uint64_t lent_us; /* since the epoch */
};

/* Returns a new record of what is known when the VM is lent, or NULL when out of memory. */
json_t *witness_new(const struct witness *w);

/* Lays what is known over what was told: `told` is a checked record, which is changed. `ended_us`
 * is the latest that the end may have been. */
void witness_correct(json_t *told, const json_t *known, uint64_t ended_us);

/* The same for what a VM's tap has counted: the guest's own word does not stand beside it. */
void witness_correct_usage(json_t *told, const struct witness_usage *usage);

/* For who left a record of a VM that nothing is known of: what the file's owner makes it. */
void witness_correct_stranger(
	json_t *told, const char *node, uid_t uid, gid_t gid, uint64_t ended_us);

/* Makes of what is known the record of a VM whose program told nothing. Returns a new object, or
 * NULL when out of memory. */
json_t *witness_alone(const json_t *known, const struct witness_usage *usage, uint64_t ended_us,
	const char *reason);

/* Looks at a process; what it cannot see leaves `usage` as it was. */
void witness_look(pid_t pid, struct witness_usage *usage);
