/* The right to run a VM on this node: who has one, who waits for one, and why. A node has limits,
 * its users have, its images have; who would exceed one waits in the order of arrival. */
#pragma once

#include "lib/digest.h"
#include "lib/error.h"

#define SLOT_REASON_MAX 96

/* 0: no limit */
struct slots_limits {
	uint64_t vms, memory_mib;
	uint64_t user_vms, user_memory_mib;
	uint64_t image_vms;
	uint64_t queue; /* how many may wait; here 0 is none */
};

struct slot {
	uid_t uid;
	char image[DIGEST_HEX_SIZE];
	uint64_t cpus, memory_mib;
	void *userdata;
	/* Set by the slots: */
	bool held;         /* else it waits */
	uint64_t place;    /* of one that waits; the first is 1 */
	uint64_t since_us; /* for how long it has been held, or waited: CLOCK_BOOTTIME */
	char reason[SLOT_REASON_MAX];
	struct slot *next;
};

struct slots_events {
	void (*on_granted)(struct slot *slot); /* one that waited */
	void (*on_moved)(struct slot *slot);   /* its place or its reason has changed */
};

struct slots;

int slots_new(
	const struct slots_limits *limits, const struct slots_events *events, struct slots **ret);
struct slots *slots_free(struct slots *s);
DEFINE_CLEANUP(struct slots *, slots_free)

/* Those that fit within the new limits are granted before this returns; none that is held is taken
 * back. */
void slots_set_limits(struct slots *s, const struct slots_limits *limits);

/* Asks for a slot as `wanted` says. Returns 1 if it is granted, 0 if it waits (`may_wait`), -EDQUOT
 * with the reason if it is refused, or -ENOMEM. *ret is for slots_release(). */
int slots_ask(struct slots *s, const struct slot *wanted, bool may_wait, struct slot **ret,
	struct error *err);

/* For a VM that runs already, whatever the node's limits are; that of its user was within the
 * user's when it was granted, and no VM is larger than the node. Returns 0, -EDQUOT or -ENOMEM. */
int slots_hold(struct slots *s, const struct slot *wanted, struct slot **ret);

/* Takes a slot back, held or waited for; others are granted theirs before this returns. */
void slots_release(struct slots *s, struct slot *slot);

/* Held ones come first, then those that wait, each in the order of arrival. */
const struct slot *slots_first(const struct slots *s);

struct slots_usage {
	uint64_t vms, memory_mib, waiting;
};
void slots_get_usage(const struct slots *s, struct slots_usage *ret);
