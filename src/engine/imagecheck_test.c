#include "engine/imagecheck.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/child.h"

#define TIMEOUT_MS 30000
#define OUTPUT_MAX (8 * 1024 * 1024)

static int parse(const char *text, struct imagecheck *ret)
{
	autofree char *copy = strdup(text);
	struct error err = {0};

	*ret = (struct imagecheck){0};
	return imagecheck_parse(copy, ret, &err);
}

static void what_a_guest_says_is_taken(void **state)
{
	struct imagecheck c AUTO(imagecheck_done);

	assert_int_equal(parse("check a\nok\ncheck b\nfailed exit status 1 instead of 0\n"
			       "policy passwords\nok\npackage bc 1.0\nend\nnoise\n",
				 &c),
		0);
	assert_int_equal(c.count, 3);
	assert_int_equal(c.failures, 1);
	assert_true(c.results[0].passed && !c.results[1].passed && c.results[2].is_policy);
	assert_string_equal(c.results[1].why, "exit status 1 instead of 0");
	assert_string_equal(c.packages.items[0], "bc 1.0");
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const char *const texts[] = {
		"", "ok\nend\n", "check a\nok\nok\nend\n", "check a\nok\n", "rubbish\nend\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct imagecheck c AUTO(imagecheck_done);

		assert_int_equal(parse(texts[i], &c), -EPROTO);
	}
}

static void a_check_without_an_end_has_failed(void **state)
{
	struct imagecheck c AUTO(imagecheck_done);

	assert_int_equal(parse("check a\ncheck b\nok\nend\n", &c), 0);
	assert_int_equal(c.failures, 1);
	assert_false(c.results[0].passed);
	assert_true(c.results[1].passed);
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
	struct imagecheck c AUTO(imagecheck_done);

	assert_int_equal(parse("check a\nfailed \033[2J\nend\n", &c), 0);
	assert_null(strchr(c.results[0].why, '\033'));
}

/* The script as it is, on this machine: its policies only look. */
static void the_recipe_s_commands_are_run(void **state)
{
	static const char recipe[] =
		"[check good]\ncommand = echo 'it''s' noise; exit 3\nstatus = 3\n"
		"[check bad]\ncommand = exit 2\n"
		"[check slow]\ncommand = sleep 60\ntimeout = 1s\n";
	autofree char *script = imagecheck_script(recipe, NULL);
	const char *const argv[] = {"sh", "-c", script, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	struct imagecheck c AUTO(imagecheck_done) = {0};
	autofree char *output = NULL;
	struct error err = {0};

	assert_non_null(script);
	spec.argv = argv;
	if (child_output(&spec, TIMEOUT_MS, OUTPUT_MAX, &output, &err) < 0 ||
		imagecheck_parse(output, &c, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(c.count == 7 && c.results[0].passed);
	assert_string_equal(c.results[1].why, "exit status 2 instead of 0");
	assert_string_equal(c.results[2].why, "it did not end within 1 s");
	assert_string_equal(c.results[3].name, "authorized-keys");
	assert_true(c.packages.count > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_guest_says_is_taken),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(a_check_without_an_end_has_failed),
		cmocka_unit_test(control_characters_do_not_reach_a_terminal),
		cmocka_unit_test(the_recipe_s_commands_are_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
