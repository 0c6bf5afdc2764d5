#include "engine/overhead.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MIB UINT64_C(1048576)

static const struct vm_share shares[] = {
	{.gateway = &gateway_9p}, {.gateway = &gateway_9p}, {.gateway = &gateway_9p}};

static const struct overhead_shape least = {.accel = ACCEL_KVM, .cpus = 1},
				   full_kvm = {ACCEL_KVM, 4, VM_NETWORK_USER, true, shares, 3},
				   full_tcg = {ACCEL_TCG, 4, VM_NETWORK_USER, true, shares, 3};

/* The numbers of docs/memory.md: whoever changes the formula changes them there. */
static void formula_is_the_published_one(void **state)
{
	assert_int_equal(overhead_mib(&least, 1024), 48 + 4 + 8);
	assert_int_equal(overhead_mib(&full_kvm, 8192), 48 + 16 + 64 + 16 + 4 + 12);
	assert_int_equal(
		overhead_mib(&full_tcg, 256), 48 + 16 + 2 + 16 + 4 + 12 + (32 + 4) + 4 * 8);
	assert_int_equal(
		overhead_mib(&full_tcg, 2048), 48 + 16 + 16 + 16 + 4 + 12 + (128 + 16) + 4 * 64);
	assert_int_equal(
		overhead_mib(&full_tcg, 65536), 48 + 16 + 512 + 16 + 4 + 12 + (256 + 32) + 4 * 256);
}

static void parts_add_up_and_are_named(void **state)
{
	struct overhead_part parts[OVERHEAD_PARTS_MAX];
	size_t count = overhead_parts(&full_tcg, 1000, parts);
	uint64_t sum = 0;

	assert_int_equal(count, 8);
	for (size_t i = 0; i < count; i++) {
		assert_true(parts[i].mib > 0 && parts[i].what[0]);
		sum += parts[i].mib;
	}
	assert_int_equal(sum, overhead_mib(&full_tcg, 1000));
	assert_int_equal(overhead_parts(&least, 1000, parts), 3);
}

static void more_memory_never_needs_less(void **state)
{
	uint64_t last = 0;

	for (uint64_t mib = 1; mib < 20000; mib++) {
		uint64_t now = overhead_mib(&full_tcg, mib);

		assert_true(now >= last);
		last = now;
	}
}

/* For each allocation: what was found fits, and one MiB more would not. */
static void guest_is_the_largest_that_fits(void **state)
{
	const struct overhead_shape *const shapes[] = {&least, &full_kvm, &full_tcg};

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		for (uint64_t mib = 300; mib < 40000; mib += 37) {
			uint64_t guest;

			assert_int_equal(
				overhead_fit_guest(shapes[i], mib * MIB + 4711, 0, &guest, NULL),
				0);
			assert_true(guest + overhead_mib(shapes[i], guest) <= mib);
			assert_true(guest + 1 + overhead_mib(shapes[i], guest + 1) > mib);
		}
}

static void too_little_is_told_with_what_would_do(void **state)
{
	struct error err = {0};
	uint64_t guest = 0;

	assert_int_equal(overhead_fit_guest(&full_kvm, 200 * MIB, 256, &guest, &err), -EINVAL);
	assert_string_equal(err.text,
		"200 MiB of memory are too little for a VM: its guest needs 256 MiB, and the VM 98 "
		"MiB beside that; ask for 354 MiB");
	assert_int_equal(overhead_fit_guest(&full_kvm, 354 * MIB - 1, 256, &guest, &err), -EINVAL);
	assert_int_equal(overhead_fit_guest(&full_kvm, 354 * MIB, 256, &guest, &err), 0);
	assert_int_equal(guest, 256);
	assert_int_equal(overhead_fit_guest(&least, 0, 0, &guest, &err), -EINVAL);
	assert_int_equal(overhead_fit_guest(&least, 52 * MIB, 0, &guest, &err), -EINVAL);
}

/* What a batch system says of a job without a limit. */
static void no_limit_gives_the_most_that_a_guest_may_have(void **state)
{
	uint64_t guest;

	assert_int_equal(overhead_fit_guest(&full_tcg, UINT64_MAX, 0, &guest, NULL), 0);
	assert_true(guest == UINT64_C(64) << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formula_is_the_published_one),
		cmocka_unit_test(parts_add_up_and_are_named),
		cmocka_unit_test(more_memory_never_needs_less),
		cmocka_unit_test(guest_is_the_largest_that_fits),
		cmocka_unit_test(too_little_is_told_with_what_would_do),
		cmocka_unit_test(no_limit_gives_the_most_that_a_guest_may_have),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
