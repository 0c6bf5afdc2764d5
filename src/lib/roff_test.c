#include "lib/roff.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void prints(void (*print)(FILE *, const char *), const char *text, const char *expected)
{
	autofree char *roff = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&roff, &length);

	assert_non_null(out);
	print(out, text);
	fclose(out);
	assert_string_equal(roff, expected);
}

static void nothing_is_taken_for_a_request_or_an_escape(void **state)
{
	prints(roff_print_text, ".TH x", "\\&.TH x\n");
	prints(roff_print_text, "'so x", "\\(aqso x\n");
	prints(roff_print_text, "a\\fBb", "a\\(rsfBb\n");
	prints(roff_print_inline, "say \"x\"  ~/`y`^", "say \\(dqx\\(dq \\(ti/\\(gay\\(ga\\(ha");
}

static void dashes_of_options_and_paths_can_be_copied(void **state)
{
	prints(roff_print_text, "well-known --no-wait, (-v) wnodes-guest /a-b X=a-b",
		"well-known \\-\\-no\\-wait, (\\-v) wnodes\\-guest /a\\-b X=a\\-b\n");
	prints(roff_print_literal, "a-b", "a\\-b");
}

static void text_is_wrapped_and_paragraphs_kept(void **state)
{
	prints(roff_print_text, "\n one\ntwo \n \n\n three", "one two\n.PP\nthree\n");
	prints(roff_print_text,
		"123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 x",
		"123456789 123456789 123456789 123456789 123456789 123456789 123456789\n"
		"123456789 x\n");
	prints(roff_print_text, "", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_taken_for_a_request_or_an_escape),
		cmocka_unit_test(dashes_of_options_and_paths_can_be_copied),
		cmocka_unit_test(text_is_wrapped_and_paragraphs_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
