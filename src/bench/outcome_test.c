#include "bench/outcome.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MACHINE(cpu) "\"machine\": {\"cpu\": \"" cpu "\", \"cpus\": 2}"
#define VM           "\"vm\": {\"accel\": \"tcg\", \"cpus\": 2, \"memory_bytes\": 1}, \"quick\": true"
#define ROW(median, programs)                                                                  \
	"{\"trial\": \"disk\", \"figure\": \"write\", \"place\": \"boot\", \"lower\": false, " \
	"\"median\": " median ", \"programs\": \"" programs "\", \"size\": \"s\"}"
#define REPORT(cpu, median, programs) \
	"{\"version\": 1, " MACHINE(cpu) ", " VM ", \"results\": [" ROW(median, programs) "]}"

static json_t *load(const char *text)
{
	json_t *json = json_loads(text, 0, NULL);

	assert_non_null(json);
	return json;
}

static void alike_reports_are_compared(void **state)
{
	json_t *old = load(REPORT("x", "10", "fio 3")), *new = load(REPORT("x", "15", "fio 3"));
	json_t *row;

	assert_int_equal(outcome_check_comparable(old, new, NULL), 0);
	assert_int_equal(outcome_compare(old, new), 0);
	row = json_array_get(json_object_get(new, "results"), 0);
	assert_true(json_number_value(json_object_get(row, "old")) == 10);
	assert_true(json_number_value(json_object_get(row, "ratio_to_old")) == 1.5);
	json_decref(old);
	json_decref(new);
}

static void other_programs_give_no_ratio(void **state)
{
	json_t *old = load(REPORT("x", "10", "fio 3")), *new = load(REPORT("x", "15", "fio 4"));
	json_t *row;

	assert_int_equal(outcome_compare(old, new), 0);
	row = json_array_get(json_object_get(new, "results"), 0);
	assert_null(json_object_get(row, "ratio_to_old"));
	assert_non_null(json_object_get(row, "old_not_comparable"));
	json_decref(old);
	json_decref(new);
}

static void other_machines_are_refused(void **state)
{
	json_t *old = load(REPORT("x", "10", "fio 3")), *new = load(REPORT("y", "15", "fio 3"));
	json_t *none = load("{\"version\": 7}");
	struct error err = {0};

	assert_int_equal(outcome_check_comparable(old, new, &err), -EINVAL);
	assert_non_null(strstr(err.text, "processor"));
	assert_int_equal(outcome_check_comparable(none, new, &err), -EINVAL);
	json_decref(old);
	json_decref(new);
	json_decref(none);
}

static void a_campaign_becomes_a_report(void **state)
{
	static struct campaign c = {.runs = 1, .qemu = "qemu-system-none"};
	struct reading bare = {.size = "s"}, vm = {.size = "s"},
		       broken = {.why = "no such gateway"};
	json_t *report, *row;

	c.trials[0] = trial_find("share");
	c.trial_count = 1;
	c.places[0] = (struct place){PLACE_BARE, "bare", NULL};
	c.places[1] = (struct place){PLACE_GATEWAY, "9p", NULL};
	c.places[2] = (struct place){PLACE_GATEWAY, "nfs", NULL};
	c.place_count = 3;
	c.vm.image = "bench";
	reading_set(&bare, c.trials[0], "write", 100);
	reading_set(&vm, c.trials[0], "write", 50);
	c.results[0][0] = (struct result){c.trials[0], &c.places[0], &bare, 1};
	c.results[0][1] = (struct result){c.trials[0], &c.places[1], &vm, 1};
	c.results[0][2] = (struct result){c.trials[0], &c.places[2], &broken, 1};
	report = outcome_to_json(&c);
	assert_non_null(report);
	assert_int_equal(json_array_size(json_object_get(report, "results")), 2);
	row = json_array_get(json_object_get(report, "results"), 1);
	assert_true(json_number_value(json_object_get(row, "ratio")) == 0.5);
	row = json_array_get(json_object_get(report, "missing"), 0);
	assert_string_equal(json_string_value(json_object_get(row, "why")), "no such gateway");
	assert_int_equal(outcome_check_comparable(report, report, NULL), 0);
	json_decref(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alike_reports_are_compared),
		cmocka_unit_test(other_programs_give_no_ratio),
		cmocka_unit_test(other_machines_are_refused),
		cmocka_unit_test(a_campaign_becomes_a_report),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
