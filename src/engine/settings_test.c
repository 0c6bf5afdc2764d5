#include "engine/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "engine/policy.h"
#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

static char directory[] = "/tmp/settings-test.XXXXXX";

static int setup(void **state)
{
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	return !mkdtemp(directory) || setenv("XDG_CONFIG_HOME", directory, 1) < 0;
}

static int teardown(void **state)
{
	return file_remove_tree(AT_FDCWD, directory);
}

static void write_config(const char *text)
{
	autofree char *sub = path_format("%s/wnodes", directory);
	autofree char *path = path_format("%s/wnodes.conf", sub);

	assert_int_equal(file_make_dirs(sub, 0700), 0);
	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

static void every_default_is_valid_by_its_own_row(void **state)
{
	struct settings s = {0};
	struct error err = {0};

	if (conf_init(settings_table, &s, &err) < 0)
		fail_msg("%s", err.text);
	settings_done(&s);
}

static void every_row_can_be_set_and_explains_itself(void **state)
{
	struct settings s = {0};
	struct error err = {0};

	assert_int_equal(conf_init(settings_table, &s, &err), 0);
	for (const struct conf_setting *row = settings_table; row->key; row++) {
		bool is_group = streq(row->key, "volume_group");
		const char *value = row->default_value ? row->default_value
				    : is_group         ? "vg0"
						       : "http://x";

		if (conf_set(row, &s, value, &err) < 0)
			fail_msg("%s: %s", row->key, err.text);
		assert_true(strlen(row->help) > 10);
		assert_int_equal(row->help[strlen(row->help) - 1], '.');
	}
	settings_done(&s);
}

static void without_files_the_defaults_hold(void **state)
{
	struct settings s;
	struct error err = {0};

	if (access("/etc/wnodes/wnodes.conf", F_OK) == 0)
		skip();
	assert_int_equal(settings_load(&s, &err), 0);
	assert_string_equal(s.image, "debian");
	assert_int_equal(s.cpus, 1);
	assert_int_equal(s.memory, 1 << 30);
	assert_int_equal(s.scratch, 0);
	assert_string_equal(s.network, "user");
	assert_string_equal(s.accel, "auto");
	assert_null(s.qemu);
	assert_null(s.env[0]);
	assert_int_equal(s.grace, 10 * 1000 * 1000);
	settings_done(&s);
}

static void users_file_is_read(void **state)
{
	struct settings s;
	struct error err = {0};

	write_config("[run]\nimage = el9\nmemory = 2G\nenv = OMP_*\nenv = A=1\n"
		     "[vm]\naccel = tcg\n[deadline]\ngrace = 3s\n");
	if (settings_load(&s, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(s.image, "el9");
	assert_int_equal(s.memory, UINT64_C(2) << 30);
	assert_string_equal(s.env[0], "OMP_*");
	assert_string_equal(s.env[1], "A=1");
	assert_null(s.env[2]);
	assert_string_equal(s.accel, "tcg");
	assert_int_equal(s.grace, 3 * 1000 * 1000);
	settings_done(&s);
}

static void mistakes_are_told_with_file_and_line(void **state)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{"[run]\nimag = el9\n", "wnodes.conf:2: "},
		{"[rum]\nimage = el9\n", "wnodes.conf:"},
		{"[run]\n\ncpus = 0\n", "wnodes.conf:3: "},
		{"[run]\nmemory = 1M\n", "wnodes.conf:2: "},
		{"[vm]\naccel = fast\n", "wnodes.conf:2: "},
		{"[run]\nnetwork = a bridge\n", "wnodes.conf:2: "},
		{"[deadline]\nboot = 0\n", "wnodes.conf:2: "},
		{"garbage\n", "wnodes.conf:1: "},
		{"[run]\n[policy mine]\nvm = allow\n",
			"wnodes.conf:2: [policy mine]: policies are the site's"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct settings s;
		struct error err = {0};

		write_config(rows[i].text);
		assert_int_equal(settings_load(&s, &err), -EINVAL);
		if (!strstr(err.text, rows[i].said))
			fail_msg("'%s' does not say '%s'", err.text, rows[i].said);
		assert_null(s.image);
	}
}

static void write_file(const char *path, const char *text)
{
	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

static void local_values_hold_over_pushed_ones(void **state)
{
	autofree char *pushed = path_format("%s/pushed.conf", directory);
	autofree char *local = path_format("%s/local.conf", directory);
	struct policies policies;
	struct error err = {0};
	struct settings s;

	write_file(pushed, "[run]\nimage = el9\ncpus = 2\nenv = A\nenv = B\n"
			   "[policy one]\nvm = forbid\n[policy two]\n[policy three]\n");
	write_file(local, "[run]\nimage = el8\nenv = C\n[policy zero]\n[policy one]\nvm = force\n");
	assert_int_equal(settings_load_from(&s, pushed, local, &err), 0);
	assert_string_equal(s.image, "el8");
	assert_int_equal(s.cpus, 2);
	assert_string_equal(s.env[0], "C");
	assert_null(s.env[1]);
	settings_done(&s);
	assert_int_equal(policies_load_over(&policies, NULL, pushed, local, &err), 0);
	assert_int_equal(policies_count(&policies), 4);
	assert_string_equal(policies_get(&policies, 0)->name, "zero");
	assert_int_equal(policies_get(&policies, 1)->vm, POLICY_FORCE);
	assert_string_equal(policies_get(&policies, 2)->name, "two");
	assert_string_equal(policies_get(&policies, 3)->name, "three");
	policies_done(&policies);
	write_file(pushed, "[run]\ncpus = none\n");
	assert_int_equal(settings_load_from(&s, pushed, local, &err), -EINVAL);
	assert_non_null(strstr(err.text, "pushed.conf:2"));
}

static void water_is_a_share_or_a_size(void **state)
{
	static const char *const bad[] = {"", "%", "0%", "101%", "x%", "85 %", "much", "-1%"};
	uint64_t percent, bytes;

	assert_int_equal(settings_parse_water("85%", &percent, &bytes, NULL), 0);
	assert_int_equal(percent, 85);
	assert_int_equal(bytes, 0);
	assert_int_equal(settings_parse_water("2G", &percent, &bytes, NULL), 0);
	assert_int_equal(percent, 0);
	assert_int_equal(bytes, UINT64_C(2) << 30);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(settings_parse_water(bad[i], &percent, &bytes, NULL), -EINVAL);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(every_default_is_valid_by_its_own_row),
		EACH(every_row_can_be_set_and_explains_itself),
		EACH(without_files_the_defaults_hold),
		EACH(users_file_is_read),
		EACH(local_values_hold_over_pushed_ones),
		EACH(water_is_a_share_or_a_size),
		EACH(mistakes_are_told_with_file_and_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
