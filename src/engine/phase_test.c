/* Time is let pass by moving the clock's origin back. */
#include "engine/phase.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000)
#define SLACK  UINT64_C(900000) /* what this test itself may take on a busy machine */

static void pass(struct phase_clock *c, uint64_t us)
{
	c->origin -= us;
}

static void assert_about(uint64_t us, uint64_t expected)
{
	if (us < expected || us > expected + SLACK)
		fail_msg("%llu us are not about %llu us", (unsigned long long)us,
			(unsigned long long)expected);
}

/* The phase's row in the JSON, or NULL. */
static json_t *row_of(json_t *list, const char *phase)
{
	size_t i;
	json_t *row;

	json_array_foreach(list, i,
		row) if (streq(json_string_value(json_object_get(row, "phase")), phase)) return row;
	return NULL;
}

static void assert_row(json_t *list, const char *phase, uint64_t start, uint64_t duration)
{
	json_t *row = row_of(list, phase);

	assert_non_null(row);
	assert_about(
		(uint64_t)(1e6 * json_real_value(json_object_get(row, "start_s")) + 0.5), start);
	assert_about((uint64_t)(1e6 * json_real_value(json_object_get(row, "duration_s")) + 0.5),
		duration);
}

static void every_phase_has_a_name_of_its_own(void **state)
{
	for (int p = 0; p < PHASE_COUNT; p++)
		for (int q = 0; q < p; q++)
			assert_string_not_equal(phase_name(p), phase_name(q));
	assert_string_equal(phase_name(PHASE_BOOT), "boot");
}

static void time_counts_for_the_phase_that_is_now(void **state)
{
	struct phase_clock c;

	phase_start(&c);
	assert_int_equal(c.now, PHASE_QUEUED);
	pass(&c, 2 * SECOND);
	phase_enter(&c, PHASE_BOOT);
	assert_about(phase_elapsed_us(&c), 0);
	pass(&c, 3 * SECOND);
	assert_int_equal(c.now, PHASE_BOOT);
	assert_about(phase_elapsed_us(&c), 3 * SECOND);
	assert_about(phase_total_us(&c), 5 * SECOND);
}

static void entering_again_adds_to_a_phases_time(void **state)
{
	struct phase_clock c;
	json_t *list;

	phase_start(&c);
	phase_enter(&c, PHASE_BOOT);
	pass(&c, 10 * SECOND);
	phase_enter(&c, PHASE_BOOT);
	assert_about(phase_elapsed_us(&c), 10 * SECOND);
	pass(&c, 5 * SECOND);
	phase_enter(&c, PHASE_PREPARE);
	pass(&c, SECOND);
	phase_enter(&c, PHASE_BOOT);
	pass(&c, SECOND);
	phase_enter(&c, PHASE_RUN);
	list = phase_to_json(&c);
	assert_about((uint64_t)(1e6 * json_real_value(
					      json_object_get(row_of(list, "boot"), "duration_s")) +
				0.5),
		16 * SECOND);
	json_decref(list);
}

static void report_has_the_entered_phases_in_order(void **state)
{
	struct phase_clock c;
	json_t *list;

	phase_start(&c);
	pass(&c, SECOND);
	phase_enter(&c, PHASE_FETCH);
	pass(&c, 2 * SECOND);
	phase_enter(&c, PHASE_BOOT);
	pass(&c, 3 * SECOND);
	phase_enter(&c, PHASE_STOP);
	pass(&c, 4 * SECOND);
	list = phase_to_json(&c);
	assert_int_equal(json_array_size(list), 3);
	assert_row(list, "fetch", SECOND, 2 * SECOND);
	assert_row(list, "boot", 3 * SECOND, 3 * SECOND);
	assert_row(list, "stop", 6 * SECOND, 4 * SECOND);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(list, 2), "phase")), "stop");
	json_decref(list);
	phase_enter(&c, PHASE_DONE);
	list = phase_to_json(&c);
	assert_int_equal(json_array_size(list), 3);
	json_decref(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_phase_has_a_name_of_its_own),
		cmocka_unit_test(time_counts_for_the_phase_that_is_now),
		cmocka_unit_test(entering_again_adds_to_a_phases_time),
		cmocka_unit_test(report_has_the_entered_phases_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
