/* The data of volumes: a file each, raw, in a directory of the node's that is closed to others. A
 * file is there when it is whole. Who uses one holds its lock (flock), which the kernel keeps for
 * as long as any descriptor of it is open anywhere: for writing alone, for reading with others. So
 * a VM, or whoever serves one, has to be gone before the next one begins, whatever anybody
 * believes. */
#pragma once

#include "lib/error.h"
#include "lib/uuid.h"

struct volume_owner {
	uid_t uid;
	gid_t gid;
};

/* Makes one, with an empty file system (ext4) that belongs to its owner; one that is there stays
 * as it is. Returns 0 or negative errno. */
int volume_data_make(int directory, const char *id, uint64_t bytes,
	const struct volume_owner *owner, struct error *err);

/* The same as a copy of what `source` is now: by reference where the file system can. -EBUSY if
 * somebody writes to the source. */
int volume_data_copy(int directory, const char *id, const char *source, struct error *err);

/* Makes one larger, and the file system in it, if it is ext4. Returns 0, -EBUSY while it is in use,
 * or another negative errno. */
int volume_data_grow(int directory, const char *id, uint64_t bytes,
	const struct volume_owner *owner, struct error *err);

/* As above; one that is not there is removed already. */
int volume_data_remove(int directory, const char *id, struct error *err);

/* How large is it? Returns 0, -ENOENT or another negative errno. */
int volume_data_size(int directory, const char *id, uint64_t *ret);

/* Opens one, with its lock. Returns the descriptor, -EBUSY while another has it, or another
 * negative errno. */
int volume_data_open(int directory, const char *id, bool read_only, struct error *err);

/* Before one is used, with its lock held: notes on the disk that this generation may write from now
 * on, and none before. `boot` is of the machine: what a VM has written was lost with a machine that
 * went down, and the VM does not know. Returns 0, -ESTALE for a generation that is over, -EIO for
 * one that wrote before the machine was started anew, or another negative errno. */
int volume_data_begin(
	int directory, const char *id, uint64_t generation, const char *boot, struct error *err);

/* What was left half done is removed. */
void volume_data_sweep(int directory);
