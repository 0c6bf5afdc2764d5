#include "bench/reading.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static enum reading_mark take(
	struct reading *r, const char *trial, const char *text, const char **ret_key)
{
	static char line[4 * READING_LINE_MAX];

	snprintf(line, sizeof(line), "%s", text);
	return reading_take(r, trial_find(trial), line, ret_key);
}

static void figures_are_taken(void **state)
{
	struct reading r = {0};
	const char *key;
	int write = trial_find_figure(trial_find("disk"), "write");

	assert_int_equal(take(&r, "disk", "figure write 12.5", &key), READING_NO_MARK);
	assert_true(r.has[write]);
	assert_true(r.values[write] == 12.5);
	take(&r, "disk", "program fio 3.33-3", &key);
	take(&r, "disk", "program sh 1", &key);
	take(&r, "disk", "size one file", &key);
	take(&r, "disk", "missing gmx gromacs", &key);
	assert_string_equal(r.programs, "fio 3.33-3, sh 1");
	assert_string_equal(r.size, "one file");
	assert_string_equal(r.missing, "gmx (Debian package gromacs)");
}

static void marks_have_their_key(void **state)
{
	struct reading r = {0};
	const char *key = NULL;

	assert_int_equal(take(&r, "share", "begin write", &key), READING_BEGIN);
	assert_string_equal(key, "write");
	assert_int_equal(take(&r, "share", "end write", &key), READING_END);
	assert_string_equal(key, "write");
}

static void nonsense_is_let_pass(void **state)
{
	static const char *const lines[] = {"", "figure", "figure ", "figure write",
		"figure write ", "figure write x", "figure write 1x", "figure write nan",
		"figure write inf", "figure write -1", "figure write 1e999", "figure unknown 1",
		"figure  1", "program ", "size ", "missing ", "hello"};
	struct reading r = {0};
	const char *key;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_int_equal(take(&r, "disk", lines[i], &key), READING_NO_MARK);
	for (int i = 0; i < TRIAL_FIGURES_MAX; i++)
		assert_false(r.has[i]);
}

static void texts_have_their_limit(void **state)
{
	struct reading r = {0};
	const char *key;

	for (int i = 0; i < 1000; i++)
		take(&r, "disk", "program something-long 1.2.3", &key);
	assert_true(strlen(r.programs) < READING_TEXT_MAX);
	assert_non_null(strstr(r.programs, "something-long 1.2.3, something-long 1.2.3"));
}

static void control_characters_reach_nobody(void **state)
{
	struct reading r = {0};
	const char *key;

	take(&r, "disk", "size \033[2Jx", &key);
	assert_null(strchr(r.size, '\033'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_taken),
		cmocka_unit_test(marks_have_their_key),
		cmocka_unit_test(nonsense_is_let_pass),
		cmocka_unit_test(texts_have_their_limit),
		cmocka_unit_test(control_characters_reach_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
