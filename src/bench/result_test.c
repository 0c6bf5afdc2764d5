#include "bench/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct place bare = {PLACE_BARE, "bare", NULL}, boot = {PLACE_BOOT, "boot", NULL};

struct sample {
	struct reading here[4], there[4];
	struct result vm, host;
};

static void set(struct reading *r, double value)
{
	*r = (struct reading){.programs = "fio 3", .size = "64 MiB"};
	r->values[0] = value;
	r->has[0] = true;
}

static void sample_make(struct sample *s, const char *trial)
{
	s->vm = (struct result){trial_find(trial), &boot, s->here, 3};
	s->host = (struct result){trial_find(trial), &bare, s->there, 2};
	set(&s->here[0], 9);
	set(&s->here[1], 1);
	set(&s->here[2], 2);
	set(&s->there[0], 3);
	set(&s->there[1], 5);
}

static void the_median_is_one(void **state)
{
	struct sample s;
	struct result_summary summary;

	sample_make(&s, "disk");
	assert_true(result_summarize(&s.vm, 0, &summary));
	assert_true(summary.median == 2 && summary.min == 1 && summary.max == 9);
	assert_true(result_summarize(&s.host, 0, &summary));
	assert_true(summary.median == 4);
	assert_false(result_summarize(&s.vm, 1, &summary));
}

static void more_or_less_is_better(void **state)
{
	struct sample s;
	double ratio;

	sample_make(&s, "disk"); /* a rate */
	assert_null(result_compare(&s.vm, &s.host, 0, &ratio));
	assert_true(ratio == 0.5);
	sample_make(&s, "start"); /* a time */
	assert_null(result_compare(&s.vm, &s.host, 0, &ratio));
	assert_true(ratio == 2);
}

static void what_is_not_alike_is_not_compared(void **state)
{
	struct sample s;
	double ratio;

	sample_make(&s, "disk");
	snprintf(s.there[0].programs, sizeof(s.there[0].programs), "fio 4");
	assert_string_equal(
		result_compare(&s.vm, &s.host, 0, &ratio), "other versions of the programs");
	sample_make(&s, "disk");
	snprintf(s.there[0].size, sizeof(s.there[0].size), "1 GiB");
	assert_string_equal(result_compare(&s.vm, &s.host, 0, &ratio), "other sizes");
	sample_make(&s, "disk");
	s.host.count = 0;
	assert_string_equal(
		result_compare(&s.vm, &s.host, 0, &ratio), "not measured in both places");
	sample_make(&s, "disk");
	set(&s.there[0], 0);
	set(&s.there[1], 0);
	assert_string_equal(result_compare(&s.vm, &s.host, 0, &ratio), "too little to be measured");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_median_is_one),
		cmocka_unit_test(more_or_less_is_better),
		cmocka_unit_test(what_is_not_alike_is_not_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
