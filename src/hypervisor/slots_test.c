#include "hypervisor/slots.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct slots *slots;
static char granted[64], moved[256];

static void on_granted(struct slot *slot)
{
	strcat(granted, slot->userdata);
}

static void on_moved(struct slot *slot)
{
	sprintf(moved + strlen(moved), "%s%llu ", (const char *)slot->userdata,
		(unsigned long long)slot->place);
}

static void open_slots(struct slots_limits limits)
{
	static const struct slots_events events = {on_granted, on_moved};

	limits.queue = limits.queue ? limits.queue : 100;
	granted[0] = moved[0] = '\0';
	assert_int_equal(slots_new(&limits, &events, &slots), 0);
}

static int teardown(void **state)
{
	slots = slots_free(slots);
	return 0;
}

static int ask(uid_t uid, uint64_t memory_mib, const char *name, struct slot **ret)
{
	struct slot wanted = {.uid = uid,
		.memory_mib = memory_mib,
		.cpus = 1,
		.userdata = (void *)(uintptr_t)name};
	struct error err = {0};

	snprintf(wanted.image, sizeof(wanted.image), "%064d", uid == 9 ? 9 : 1);
	return slots_ask(slots, &wanted, true, ret, &err);
}

static void without_limits_all_are_granted(void **state)
{
	struct slot *slot;
	struct slots_usage usage;

	open_slots((struct slots_limits){0});
	for (int i = 0; i < 100; i++)
		assert_int_equal(ask(1, 1000000, "x", &slot), 1);
	slots_get_usage(slots, &usage);
	assert_int_equal(usage.vms, 100);
	assert_int_equal(usage.memory_mib, 100000000);
}

static void who_waits_is_granted_in_the_order_of_arrival(void **state)
{
	struct slot *a, *b, *c, *d;

	open_slots((struct slots_limits){.vms = 1});
	assert_int_equal(ask(1, 1, "a", &a), 1);
	assert_int_equal(ask(2, 1, "b", &b), 0);
	assert_int_equal(ask(3, 1, "c", &c), 0);
	assert_int_equal(ask(4, 1, "d", &d), 0);
	assert_int_equal(b->place, 1);
	assert_int_equal(d->place, 3);
	assert_string_equal(b->reason, "the node runs 1 VMs at a time");
	slots_release(slots, a);
	assert_string_equal(granted, "b");
	assert_string_equal(moved, "c1 d2 ");
	slots_release(slots, c); /* gives up while it waits */
	assert_string_equal(granted, "b");
	assert_int_equal(d->place, 1);
	slots_release(slots, b);
	assert_string_equal(granted, "bd");
}

static void large_vm_is_not_passed_by_small_ones_for_ever(void **state)
{
	struct slot *a, *large, *small;

	open_slots((struct slots_limits){.memory_mib = 1000});
	assert_int_equal(ask(1, 600, "a", &a), 1);
	assert_int_equal(ask(2, 900, "L", &large), 0);
	assert_int_equal(ask(3, 100, "s", &small), 0);
	slots_release(slots, a);
	assert_string_equal(granted, "Ls");
}

static void own_limit_holds_up_nobody_else(void **state)
{
	struct slot *slot, *waits;

	open_slots((struct slots_limits){.user_vms = 1, .vms = 3});
	assert_int_equal(ask(1, 1, "a", &slot), 1);
	assert_int_equal(ask(1, 1, "b", &waits), 0);
	assert_string_equal(waits->reason, "a user may have 1 VMs on this node");
	assert_int_equal(ask(2, 1, "c", &waits), 1);
	slots_release(slots, slot);
	assert_string_equal(granted, "b");
}

static void memory_of_a_user_and_vms_of_an_image_are_limited(void **state)
{
	struct slot *slot, *waits;

	open_slots((struct slots_limits){.user_memory_mib = 100, .image_vms = 2});
	assert_int_equal(ask(1, 60, "a", &slot), 1);
	assert_int_equal(ask(1, 60, "b", &waits), 0);
	assert_int_equal(ask(2, 60, "c", &waits), 1);
	assert_int_equal(ask(3, 60, "d", &waits), 0);
	assert_string_equal(waits->reason, "this node runs 2 VMs of one image at a time");
	assert_int_equal(ask(9, 60, "e", &waits), 1);
}

static void what_can_never_be_granted_is_refused_at_once(void **state)
{
	struct slot wanted = {.memory_mib = 2000};
	struct slot *slot;
	struct error err = {0};

	open_slots((struct slots_limits){.memory_mib = 1000});
	assert_int_equal(slots_ask(slots, &wanted, true, &slot, &err), -EDQUOT);
	assert_non_null(strstr(err.text, "the node has 1000 MiB"));
}

static void queue_has_an_end_and_may_be_declined(void **state)
{
	struct slot wanted = {.memory_mib = 1};
	struct slot *slot;
	struct error err = {0};

	open_slots((struct slots_limits){.vms = 1, .queue = 1});
	assert_int_equal(ask(1, 1, "a", &slot), 1);
	assert_int_equal(slots_ask(slots, &wanted, false, &slot, &err), -EDQUOT);
	assert_int_equal(ask(1, 1, "b", &slot), 0);
	assert_int_equal(ask(1, 1, "c", &slot), -EDQUOT);
}

static void vm_that_runs_already_counts_beyond_the_limits(void **state)
{
	const struct slot wanted = {.memory_mib = 1, .userdata = (void *)(uintptr_t) "h"};
	struct slot *a, *held, *waits;

	open_slots((struct slots_limits){.vms = 1});
	assert_int_equal(ask(1, 1, "a", &a), 1);
	assert_int_equal(slots_hold(slots, &wanted, &held), 0);
	assert_int_equal(ask(1, 1, "b", &waits), 0);
	slots_release(slots, a);
	assert_string_equal(granted, "");
	slots_release(slots, held);
	assert_string_equal(granted, "b");
}

static void vm_that_is_said_to_run_is_within_its_users_limits(void **state)
{
	struct slot wanted = {.uid = 1, .memory_mib = 600};
	struct slot *slot;

	open_slots((struct slots_limits){.user_memory_mib = 1000, .memory_mib = 2000});
	assert_int_equal(slots_hold(slots, &wanted, &slot), 0);
	assert_int_equal(slots_hold(slots, &wanted, &slot), -EDQUOT);
	wanted.uid = 2;
	assert_int_equal(slots_hold(slots, &wanted, &slot), 0);
	slots_free(slots);
	open_slots((struct slots_limits){.memory_mib = 500});
	assert_int_equal(slots_hold(slots, &wanted, &slot), -EDQUOT);
}

static struct slot *to_release;

static void on_granted_release(struct slot *slot)
{
	strcat(granted, slot->userdata);
	if (to_release == slot)
		slots_release(slots, slot);
}

static void slot_may_be_given_back_as_it_is_granted(void **state)
{
	static const struct slots_events events = {on_granted_release, on_moved};
	const struct slots_limits limits = {.vms = 1, .queue = 10};
	struct slot *a, *c;

	granted[0] = moved[0] = '\0';
	assert_int_equal(slots_new(&limits, &events, &slots), 0);
	assert_int_equal(ask(1, 1, "a", &a), 1);
	assert_int_equal(ask(1, 1, "b", &to_release), 0);
	assert_int_equal(ask(1, 1, "c", &c), 0);
	slots_release(slots, a);
	assert_string_equal(granted, "bc");
	assert_true(c->held);
}

static void larger_limits_grant_at_once_and_smaller_ones_take_nothing(void **state)
{
	struct slots_limits limits = {.vms = 2, .queue = 10};
	struct slot *a, *b;

	open_slots((struct slots_limits){.vms = 1});
	assert_int_equal(ask(1, 1, "a", &a), 1);
	assert_int_equal(ask(1, 1, "b", &b), 0);
	slots_set_limits(slots, &limits);
	assert_string_equal(granted, "b");
	limits.vms = 1;
	slots_set_limits(slots, &limits);
	assert_true(a->held && b->held);
	assert_int_equal(ask(1, 1, "c", &a), 0);
}

#define EACH(test) cmocka_unit_test_teardown(test, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(without_limits_all_are_granted),
		EACH(who_waits_is_granted_in_the_order_of_arrival),
		EACH(large_vm_is_not_passed_by_small_ones_for_ever),
		EACH(own_limit_holds_up_nobody_else),
		EACH(memory_of_a_user_and_vms_of_an_image_are_limited),
		EACH(what_can_never_be_granted_is_refused_at_once),
		EACH(queue_has_an_end_and_may_be_declined),
		EACH(vm_that_runs_already_counts_beyond_the_limits),
		EACH(vm_that_is_said_to_run_is_within_its_users_limits),
		EACH(slot_may_be_given_back_as_it_is_granted),
		EACH(larger_limits_grant_at_once_and_smaller_ones_take_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
