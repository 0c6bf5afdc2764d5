/* What a VM takes of the host's memory beside that of its guest, and so what is left for a guest of
 * what a job was given. How the numbers were found: docs/memory.md. */
#pragma once

#include "engine/request.h"
#include "vm/spec.h"

#define OVERHEAD_PARTS_MAX 12

struct overhead_shape {
	enum accel accel; /* not ACCEL_AUTO: until that is decided, ACCEL_TCG is the safe one */
	uint64_t cpus;
	enum vm_network network;
	bool scratch;
	const struct vm_share *shares;
	size_t share_count;
};

/* A term of the formula, for people. */
struct overhead_part {
	const char *what;
	uint64_t mib;
};

/* Of this request's VM; the shares stay the request's. */
struct overhead_shape overhead_shape_of(const struct request *r);

/* All of it, in MiB, for a guest with so much memory. Never less for more memory. */
uint64_t overhead_mib(const struct overhead_shape *shape, uint64_t guest_mib);

/* The same in parts. Returns their number. */
size_t overhead_parts(const struct overhead_shape *shape, uint64_t guest_mib,
	struct overhead_part ret[OVERHEAD_PARTS_MAX]);

/* The most memory that a guest may have for guest and overhead to fit into `allocation_bytes`, in
 * whole MiB, as QEMU takes it. Returns 0, or -EINVAL with what to ask for if that is less than
 * `least_mib` (what the image needs; 0: 1 MiB). */
int overhead_fit_guest(const struct overhead_shape *shape, uint64_t allocation_bytes,
	uint64_t least_mib, uint64_t *ret_guest_mib, struct error *err);
