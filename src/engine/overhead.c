#include "engine/overhead.h"

#include <errno.h>

#define MIB UINT64_C(1048576)

/* QEMU with its devices, caches of the disks' tables, messages on their way; our own process. */
#define BASE_MIB 48

/* A thread with its stacks, and the coroutines of its requests. */
#define CPU_MIB 4

/* Buffers of a few hundred connections of QEMU's user network. */
#define NETWORK_MIB 16

/* Requests on their way. What is written to it is the page cache's, which the host takes back. */
#define SCRATCH_MIB 4

/* The host's tables of the guest's memory, KVM's, its reverse map: 8 bytes a page each, and QEMU's
 * bitmaps. */
#define TABLES_PART 128

/* Software emulation: the cache of translated code, and an eighth for finding the blocks in it. */
#define CACHE_INDEX_PART 8

/* Software emulation keeps two entries of 60 bytes for each page that a CPU uses, 4 Mi entries at
 * most. */
#define TLB_PART    32
#define TLB_MAX_MIB 256

/* The most that a guest may have: 64 TiB, as [run] memory. */
#define GUEST_MAX_MIB (UINT64_C(64) << 20)

static uint64_t divide_up(uint64_t n, uint64_t by)
{
	return (n + by - 1) / by;
}

/* Which gateway it will be is not known yet where none was asked for: nearly always 9p. */
static uint64_t share_mib(const struct vm_share *share)
{
	return share->gateway ? share->gateway->overhead_mib : gateway_9p.overhead_mib;
}

static uint64_t shares_mib(const struct overhead_shape *shape)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < shape->share_count; i++)
		sum += share_mib(&shape->shares[i]);
	return sum;
}

size_t overhead_parts(const struct overhead_shape *shape, uint64_t guest_mib,
	struct overhead_part ret[OVERHEAD_PARTS_MAX])
{
	bool emulated = shape->accel != ACCEL_KVM;
	uint64_t cache = accel_cache_mib(shape->cpus, guest_mib);
	uint64_t tlb = MIN_OF(divide_up(guest_mib, TLB_PART), (uint64_t)TLB_MAX_MIB);
	const struct overhead_part parts[] = {
		{"QEMU and wnodes", BASE_MIB},
		{"CPUs", shape->cpus * CPU_MIB},
		{"tables of the guest's memory", divide_up(guest_mib, TABLES_PART)},
		{"network", shape->network == VM_NETWORK_NONE ? 0 : NETWORK_MIB},
		{"scratch disk", shape->scratch ? SCRATCH_MIB : 0},
		{"shares", shares_mib(shape)},
		{"translated code", emulated ? cache + divide_up(cache, CACHE_INDEX_PART) : 0},
		{"emulated TLBs", emulated ? shape->cpus * tlb : 0},
	};
	size_t count = 0;

	_Static_assert(ARRAY_SIZE(parts) <= OVERHEAD_PARTS_MAX, "no room for all parts");
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].mib > 0)
			ret[count++] = parts[i];
	return count;
}

struct overhead_shape overhead_shape_of(const struct request *r)
{
	return (struct overhead_shape){
		.accel = r->accel == ACCEL_AUTO ? ACCEL_TCG : r->accel,
		.cpus = r->cpus,
		.network = r->network,
		.scratch = r->scratch_bytes > 0,
		.shares = r->shares.items,
		.share_count = r->shares.count,
	};
}

uint64_t overhead_mib(const struct overhead_shape *shape, uint64_t guest_mib)
{
	struct overhead_part parts[OVERHEAD_PARTS_MAX];
	size_t count = overhead_parts(shape, guest_mib, parts);
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += parts[i].mib;
	return sum;
}

int overhead_fit_guest(const struct overhead_shape *shape, uint64_t allocation_bytes,
	uint64_t least_mib, uint64_t *ret_guest_mib, struct error *err)
{
	uint64_t allocation = allocation_bytes / MIB;
	uint64_t least = MAX_OF(least_mib, UINT64_C(1));
	uint64_t low = 0, high = MIN_OF(allocation, GUEST_MAX_MIB), need;

	/* What fits is below what does not: the sum grows with the guest. */
	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2;

		if (middle + overhead_mib(shape, middle) <= allocation)
			low = middle;
		else
			high = middle - 1;
	}
	need = least + overhead_mib(shape, least);
	if (low < least)
		return fail(err, -EINVAL,
			"%llu MiB of memory are too little for a VM: its guest needs %llu MiB, and the "
			"VM %llu MiB beside that; ask for %llu MiB",
			(unsigned long long)allocation, (unsigned long long)least,
			(unsigned long long)overhead_mib(shape, least), (unsigned long long)need);
	*ret_guest_mib = low;
	return 0;
}
