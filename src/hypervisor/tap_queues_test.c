/* How many queues a VM's tap gets. */
#include "hypervisor/tap_private.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static size_t count(uint64_t set, uint64_t cpus, uint64_t asked)
{
	const struct network network = {.queues = set};
	const struct tap_wish wish = {.cpus = cpus, .queues = asked};

	return tap_queues_count(&network, &wish);
}

static void small_vms_have_one_and_others_one_a_cpu(void **state)
{
	assert_int_equal(count(0, 1, VM_QUEUES_MAX), 1);
	assert_int_equal(count(0, 3, VM_QUEUES_MAX), 1);
	assert_int_equal(count(0, 4, VM_QUEUES_MAX), 4);
	assert_int_equal(count(0, 64, VM_QUEUES_MAX), VM_QUEUES_MAX);
}

static void network_sets_how_many_but_no_more_than_cpus(void **state)
{
	assert_int_equal(count(1, 64, VM_QUEUES_MAX), 1);
	assert_int_equal(count(2, 2, VM_QUEUES_MAX), 2);
	assert_int_equal(count(8, 2, VM_QUEUES_MAX), 2);
}

/* A program of an earlier version takes one. */
static void nobody_gets_more_than_it_asks_for(void **state)
{
	assert_int_equal(count(0, 64, 0), 1);
	assert_int_equal(count(4, 64, 2), 2);
	assert_int_equal(count(0, 64, 4096), VM_QUEUES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_vms_have_one_and_others_one_a_cpu),
		cmocka_unit_test(network_sets_how_many_but_no_more_than_cpus),
		cmocka_unit_test(nobody_gets_more_than_it_asks_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
