#include "hypervisor/slots.h"

#include <errno.h>
#include <stdio.h>

#include "lib/clock.h"

struct slots {
	struct slots_limits limits;
	struct slots_events events;
	struct slot *held, *waiting;
	bool granting, again;
};

/* Whose limit is reached. */
enum barrier { BARRIER_NONE, BARRIER_NODE, BARRIER_USER, BARRIER_IMAGE };

struct sums {
	uint64_t vms, memory_mib, user_vms, user_memory_mib, image_vms;
};

int slots_new(
	const struct slots_limits *limits, const struct slots_events *events, struct slots **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	(*ret)->limits = *limits;
	(*ret)->events = *events;
	return 0;
}

static void list_free(struct slot *list)
{
	while (list) {
		struct slot *next = list->next;

		free(list);
		list = next;
	}
}

struct slots *slots_free(struct slots *s)
{
	if (!s)
		return NULL;
	list_free(s->held);
	list_free(s->waiting);
	free(s);
	return NULL;
}

static void list_add(struct slot **list, struct slot *slot)
{
	while (*list)
		list = &(*list)->next;
	slot->next = NULL;
	*list = slot;
}

static bool list_remove(struct slot **list, struct slot *slot)
{
	for (; *list; list = &(*list)->next)
		if (*list == slot) {
			*list = slot->next;
			return true;
		}
	return false;
}

static struct sums sum_up(const struct slots *s, const struct slot *wanted)
{
	struct sums sums = {0};

	for (const struct slot *i = s->held; i; i = i->next) {
		sums.vms++;
		sums.memory_mib += i->memory_mib;
		if (i->uid == wanted->uid) {
			sums.user_vms++;
			sums.user_memory_mib += i->memory_mib;
		}
		sums.image_vms += streq(i->image, wanted->image);
	}
	return sums;
}

static bool exceeds(uint64_t has, uint64_t more, uint64_t limit)
{
	return limit > 0 && has + more > limit;
}

/* Says which limit one more VM would exceed, `reason` being for people. */
static enum barrier find_barrier(const struct slots_limits *l, const struct sums *has,
	const struct slot *wanted, char reason[SLOT_REASON_MAX])
{
	const struct {
		uint64_t has, more, limit;
		enum barrier barrier;
		const char *before, *after;
	} rows[] = {
		{has->vms, 1, l->vms, BARRIER_NODE, "the node runs", "VMs at a time"},
		{has->memory_mib, wanted->memory_mib, l->memory_mib, BARRIER_NODE, "the node has",
			"MiB of memory for VMs"},
		{has->user_vms, 1, l->user_vms, BARRIER_USER, "a user may have",
			"VMs on this node"},
		{has->user_memory_mib, wanted->memory_mib, l->user_memory_mib, BARRIER_USER,
			"a user's VMs may have", "MiB of memory on this node"},
		{has->image_vms, 1, l->image_vms, BARRIER_IMAGE, "this node runs",
			"VMs of one image at a time"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (exceeds(rows[i].has, rows[i].more, rows[i].limit)) {
			snprintf(reason, SLOT_REASON_MAX, "%s %llu %s", rows[i].before,
				(unsigned long long)rows[i].limit, rows[i].after);
			return rows[i].barrier;
		}
	return BARRIER_NONE;
}

static struct slot *slot_copy(const struct slot *wanted)
{
	struct slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return NULL;
	slot->uid = wanted->uid;
	memcpy(slot->image, wanted->image, sizeof(slot->image));
	slot->cpus = wanted->cpus;
	slot->memory_mib = wanted->memory_mib;
	slot->userdata = wanted->userdata;
	slot->since_us = clock_now_us();
	return slot;
}

static void hold(struct slots *s, struct slot *slot)
{
	slot->held = true;
	slot->place = 0;
	slot->since_us = clock_now_us();
	slot->reason[0] = '\0';
	list_add(&s->held, slot);
}

/* Gives the first that may have one its slot, or the places of all that wait. Returns whether it
 * gave one. Nobody passes one who waits for the node itself, else a large VM would wait for ever;
 * who has reached a limit of their own holds up nobody. */
static struct slot *grant_next(struct slots *s)
{
	bool node_is_full = false;
	char node_reason[SLOT_REASON_MAX] = "";

	for (struct slot *i = s->waiting; i; i = i->next) {
		char reason[SLOT_REASON_MAX] = "";
		struct sums sums = sum_up(s, i);
		enum barrier barrier = find_barrier(&s->limits, &sums, i, reason);

		if (barrier == BARRIER_NONE && !node_is_full) {
			list_remove(&s->waiting, i);
			hold(s, i);
			return i;
		}
		if (barrier == BARRIER_NODE && !node_is_full) {
			node_is_full = true;
			memcpy(node_reason, reason, sizeof(reason));
		}
		memcpy(i->reason, barrier == BARRIER_NONE ? node_reason : reason, sizeof(reason));
	}
	return NULL;
}

static void renumber(struct slots *s)
{
	uint64_t place = 0;

	for (struct slot *i = s->waiting; i; i = i->next) {
		bool moved = i->place != ++place;

		i->place = place;
		if (moved)
			s->events.on_moved(i);
	}
}

/* Callbacks may release slots, which comes back to here. */
static void grant(struct slots *s)
{
	struct slot *slot;

	s->again = true;
	if (s->granting)
		return;
	s->granting = true;
	while (s->again) {
		s->again = false;
		while ((slot = grant_next(s)))
			s->events.on_granted(slot);
		renumber(s);
	}
	s->granting = false;
}

void slots_set_limits(struct slots *s, const struct slots_limits *limits)
{
	s->limits = *limits;
	grant(s);
}

static uint64_t list_count(const struct slot *list)
{
	uint64_t n = 0;

	for (; list; list = list->next)
		n++;
	return n;
}

/* Does somebody wait whom the newcomer must not pass? */
static bool somebody_waits_for_node(const struct slots *s)
{
	char reason[SLOT_REASON_MAX];

	for (const struct slot *i = s->waiting; i; i = i->next) {
		struct sums sums = sum_up(s, i);

		if (find_barrier(&s->limits, &sums, i, reason) == BARRIER_NODE)
			return true;
	}
	return false;
}

int slots_ask(struct slots *s, const struct slot *wanted, bool may_wait, struct slot **ret,
	struct error *err)
{
	const struct sums nobody = {0};
	struct sums sums = sum_up(s, wanted);
	char reason[SLOT_REASON_MAX] = "others wait for this node";
	struct slot *slot;

	if (find_barrier(&s->limits, &nobody, wanted, reason) != BARRIER_NONE)
		return fail(err, -EDQUOT, "%s: ask for less, or another node", reason);
	slot = slot_copy(wanted);
	if (!slot)
		return fail(err, -ENOMEM, "out of memory");
	*ret = slot;
	if (find_barrier(&s->limits, &sums, wanted, reason) == BARRIER_NONE &&
		!somebody_waits_for_node(s)) {
		hold(s, slot);
		return 1;
	}
	if (!may_wait || list_count(s->waiting) >= s->limits.queue) {
		free(slot);
		return fail(err, -EDQUOT, "%s%s; try again later", reason,
			may_wait ? ", and the queue is full" : "");
	}
	memcpy(slot->reason, reason, sizeof(reason));
	list_add(&s->waiting, slot);
	slot->place = list_count(s->waiting);
	return 0;
}

int slots_hold(struct slots *s, const struct slot *wanted, struct slot **ret)
{
	const struct slots_limits *l = &s->limits;
	const struct slots_limits user = {
		.user_vms = l->user_vms, .user_memory_mib = l->user_memory_mib};
	struct sums sums = sum_up(s, wanted);
	char reason[SLOT_REASON_MAX];

	if (find_barrier(&user, &sums, wanted, reason) != BARRIER_NONE ||
		exceeds(0, wanted->memory_mib, l->memory_mib))
		return -EDQUOT;
	*ret = slot_copy(wanted);
	if (!*ret)
		return -ENOMEM;
	hold(s, *ret);
	return 0;
}

void slots_release(struct slots *s, struct slot *slot)
{
	if (!list_remove(&s->held, slot))
		list_remove(&s->waiting, slot);
	free(slot);
	grant(s);
}

const struct slot *slots_first(const struct slots *s)
{
	return s->held;
}

void slots_get_usage(const struct slots *s, struct slots_usage *ret)
{
	*ret = (struct slots_usage){.waiting = list_count(s->waiting)};
	for (const struct slot *i = s->held; i; i = i->next) {
		ret->vms++;
		ret->memory_mib += i->memory_mib;
	}
}
