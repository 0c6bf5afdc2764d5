/* The shape of a VM: all that decides whether a template of one fits another. */
#pragma once

#include "engine/local.h"
#include "vm/spec.h"

struct shape {
	enum accel accel;
	uint64_t cpus, memory_mib;
	enum vm_network network; /* NONE or USER: whether there is a card */
	bool scratch;            /* has a scratch disk, of whatever size */
	size_t slots;            /* of shares */
	bool own_memory; /* not shared with the template: what is freed goes back to the host */
};

/* How many slots a template has for this number of shares: few sizes, so that few templates do. */
size_t shape_slots(size_t share_count);

void shape_from_request(struct shape *ret, const struct request *request, enum accel accel);

/* Fills all of a spec that the image and the shape decide. Memory, state and what is connected to
 * the devices are the caller's to add; the descriptors stay those of `r`. */
void shape_fill_spec(const struct shape *shape, const struct resources *r,
	const struct settings *settings, enum vm_start start, struct vm_spec *ret);

/* The name of the template that fits: a digest over QEMU's command line for it, the program that
 * obeys it, the image, the agent, and with KVM the host's processor. Returns 0 or negative errno.
 */
int shape_key(const struct shape *shape, const struct resources *r, const struct settings *settings,
	char ret[DIGEST_HEX_SIZE], struct error *err);
