#include "controller/siteclock.h"

#include "lib/timestamp.h"

#include "controller/harness_test.h"

static void only_a_clock_that_is_wrong_counts(void **state)
{
	const uint64_t now = UINT64_C(1790000000000000);

	assert_int_equal(siteclock_difference(now, now), 0);
	assert_int_equal(siteclock_difference(now, now + 999999), 0);
	assert_int_equal(siteclock_difference(now, now - 999999), 0);
	assert_int_equal(siteclock_difference(now, now + 1000000), 1000000);
	assert_int_equal(siteclock_difference(now, now - 300000000), -300000000);
}

static void on_one_machine_all_go_by_its_clock(void **state)
{
	struct error err = {0};
	uint64_t before;

	harness_open(state);
	assert_int_equal(siteclock_set(harness_db, &err), 0);
	before = timestamp_now_us();
	assert_true(siteclock_now_us() >= before);
	assert_true(siteclock_now_us() < before + 60000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_clock_that_is_wrong_counts),
		HARNESS_TEST(on_one_machine_all_go_by_its_clock),
	};

	return HARNESS_RUN(tests);
}
