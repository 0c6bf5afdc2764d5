#include "lrms/lrms.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include "lrms/slots.h"

#include <cmocka.h>

#define GIB (1ull << 30)

static void state_names_are_read_back(void **state)
{
	enum lrms_state parsed;

	for (enum lrms_state s = LRMS_QUEUED; s <= LRMS_TIMEOUT; s++) {
		assert_int_equal(lrms_state_parse(lrms_state_name(s), &parsed), 0);
		assert_int_equal(parsed, s);
		assert_int_equal(lrms_state_is_end(s), s != LRMS_QUEUED && s != LRMS_RUNNING);
	}
	assert_int_equal(lrms_state_parse("", &parsed), -EINVAL);
	assert_int_equal(lrms_state_parse("Done", &parsed), -EINVAL);
}

/* A job that is not done must not look as if it were. */
static void the_status_for_wait_is_zero_only_for_what_is_done(void **state)
{
	static const struct {
		enum lrms_state state;
		int exit_status, expected;
	} cases[] = {
		{LRMS_DONE, 0, 0},
		{LRMS_FAILED, 3, 3},
		{LRMS_FAILED, -1, 125},
		{LRMS_FAILED, 0, 125},
		{LRMS_CANCELLED, -1, 143},
		{LRMS_CANCELLED, 0, 143},
		{LRMS_CANCELLED, 137, 137},
		{LRMS_TIMEOUT, 0, 124},
		{LRMS_TIMEOUT, 143, 124},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct lrms_job job = {
			.state = cases[i].state, .exit_status = cases[i].exit_status};

		assert_int_equal(lrms_job_status(&job), cases[i].expected);
	}
}

static void ids_are_put_into_names_of_files(void **state)
{
	static const char *const cases[][2] = {
		{"out", "out"},
		{"", ""},
		{"wnodes-%j.out", "wnodes-123.out"},
		{"%j%j", "123123"},
		{"100%%", "100%"},
		{"%%j", "%j"},
		{"%x%", "%x%"},
		{"%", "%"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autofree char *text = lrms_expand(cases[i][0], "123");

		assert_string_equal(text, cases[i][1]);
	}
}

static void what_fits_beside_what_is_in_use(void **state)
{
	const struct slots all = {4, 8 * GIB}, some = {3, 6 * GIB}, more = {5, 9 * GIB}, none = {0};

	assert_true(slots_fit(&all, &none, 4, 8 * GIB));
	assert_false(slots_fit(&all, &none, 5, 1));
	assert_false(slots_fit(&all, &none, 1, 8 * GIB + 1));
	assert_true(slots_fit(&all, &some, 1, 2 * GIB));
	assert_false(slots_fit(&all, &some, 2, 1));
	assert_false(slots_fit(&all, &some, 1, 2 * GIB + 1));
	/* Settings have changed while jobs run. */
	assert_false(slots_fit(&all, &more, 0, 0));
	assert_false(slots_fit(&all, &some, UINT64_MAX, 1));
	assert_false(slots_fit(&all, &some, 1, UINT64_MAX));
}

static void slots_are_the_machines_unless_they_are_set(void **state)
{
	struct lrms_options options = {0};
	struct slots slots;

	slots_get(&options, &slots);
	assert_in_range(slots.cpus, 1, (uint64_t)sysconf(_SC_NPROCESSORS_CONF));
	assert_in_range(slots.memory_bytes, 1 << 20,
		(uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) * 91 / 100);
	options = (struct lrms_options){.cpus = 3, .memory_bytes = GIB};
	slots_get(&options, &slots);
	assert_int_equal(slots.cpus, 3);
	assert_int_equal(slots.memory_bytes, GIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_names_are_read_back),
		cmocka_unit_test(the_status_for_wait_is_zero_only_for_what_is_done),
		cmocka_unit_test(ids_are_put_into_names_of_files),
		cmocka_unit_test(what_fits_beside_what_is_in_use),
		cmocka_unit_test(slots_are_the_machines_unless_they_are_set),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
