#include "lib/pattern.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void expressions_match_as_extended_ones_do(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool matches;
	} samples[] = {
		{"vm", "my-vm-job", true},
		{"^vm", "my-vm-job", false},
		{"^(vm|virtual)-[0-9]+$", "virtual-17", true},
		{"^(vm|virtual)-[0-9]+$", "virtual-17b", false},
		{"^[^]a]{2,3}$", "xyz", true},
		{"^[^]a]{2,3}$", "x]", false},
		{"^[[:alpha:]]+[]]$", "ab]", true},
		{"a\\.b", "a.b", true},
		{"a\\.b", "axb", false},
		{"^$", "", true},
		{".", "", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct pattern *p AUTO(pattern_freep) = NULL;
		struct error err = {0};

		if (pattern_new(samples[i].pattern, &p, &err) < 0)
			fail_msg("%s", err.text);
		assert_string_equal(pattern_text(p), samples[i].pattern);
		if (pattern_matches(p, samples[i].text) != samples[i].matches)
			fail_msg("'%s' on '%s'", samples[i].pattern, samples[i].text);
	}
}

static void what_cannot_be_used_is_refused_with_the_reason(void **state)
{
	static const struct {
		const char *pattern, *why;
	} samples[] = {
		{"", "it is empty"},
		{"(a", "Unmatched ( or \\("},
		{"[a", "Unmatched ["},
		{"a{2,1}", "Invalid content of \\{\\}"},
		{"*{", NULL},
		{"(a*)\\1", "back references (\\1) are not taken"},
		{"a{5000}", "its repetitions are more than 4096 characters long"},
		{"((((a{9}){9}){9}){9}){9}", "its repetitions are more than 4096 characters long"},
		{"(a{4000}|b{4000})", "it is more than 4096 characters long"},
		{"x++++++++++++++++++++++++++++++++++++++++++++++",
			"its repetitions are more than 4096 characters long"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct pattern *p AUTO(pattern_freep) = NULL;
		struct error err = {0};

		if (!samples[i].why) { /* glibc's to decide, without harm */
			pattern_new(samples[i].pattern, &p, &err);
			continue;
		}
		assert_int_equal(pattern_new(samples[i].pattern, &p, &err), -EINVAL);
		assert_null(p);
		if (!strstr(err.text, samples[i].why))
			fail_msg("'%s': %s", samples[i].pattern, err.text);
	}
}

static void nesting_has_an_end(void **state)
{
	struct pattern *p AUTO(pattern_freep) = NULL;
	struct error err = {0};
	char text[128] = "";

	for (int i = 0; i < 32; i++)
		strcat(text, "(");
	strcat(text, "a");
	for (int i = 0; i < 32; i++)
		strcat(text, ")");
	assert_int_equal(pattern_new(text, &p, &err), -EINVAL);
	assert_non_null(strstr(err.text, "more than 31 nested parentheses"));
	assert_int_equal(pattern_new(text, &p, NULL), -EINVAL);
}

static void long_text_is_cut_not_searched_for_ever(void **state)
{
	struct pattern *p AUTO(pattern_freep) = NULL;
	char text[PATTERN_TEXT_MAX + 100];

	memset(text, 'a', sizeof(text));
	strcpy(text + sizeof(text) - 4, "end");
	assert_int_equal(pattern_new("(a|aa)*(a|b)*c|end", &p, NULL), 0);
	assert_false(pattern_matches(p, text));
	assert_true(pattern_matches(p, text + 200));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expressions_match_as_extended_ones_do),
		cmocka_unit_test(what_cannot_be_used_is_refused_with_the_reason),
		cmocka_unit_test(nesting_has_an_end),
		cmocka_unit_test(long_text_is_cut_not_searched_for_ever),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
