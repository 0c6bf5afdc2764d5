#include "lib/path.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "config.h"
#include "lib/child.h"
#include "lib/file.h"

#define PATIENCE_MS 20000

static void expect_path(char *path, const char *expected)
{
	assert_non_null(path);
	assert_string_equal(path, expected);
	free(path);
}

static void xdg_variables_are_obeyed(void **state)
{
	setenv("XDG_DATA_HOME", "/x/data", 1);
	setenv("XDG_CACHE_HOME", "/x/cache", 1);
	setenv("XDG_RUNTIME_DIR", "/x/run", 1);
	setenv("XDG_CONFIG_HOME", "/x/config", 1);
	setenv("XDG_STATE_HOME", "/x/state", 1);
	expect_path(path_data(), "/x/data/wnodes");
	expect_path(path_cache(), "/x/cache/wnodes");
	expect_path(path_runtime(), "/x/run/wnodes");
	expect_path(path_config(), "/x/config/wnodes");
	expect_path(path_state(), "/x/state/wnodes");
}

/* Relative paths in the variables are to be ignored, as if they were not set. */
static void defaults_hold_without_xdg_variables(void **state)
{
	static const char *const ignored[] = {NULL, "", "relative/path"};
	char runtime[64];
	bool root = geteuid() == 0;

	snprintf(runtime, sizeof(runtime), "/tmp/wnodes-%u", (unsigned int)geteuid());
	setenv("HOME", "/h", 1);
	unsetenv("XDG_DATA_HOME");
	unsetenv("XDG_CACHE_HOME");
	unsetenv("XDG_RUNTIME_DIR");
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		if (ignored[i]) {
			setenv("XDG_DATA_HOME", ignored[i], 1);
			setenv("XDG_RUNTIME_DIR", ignored[i], 1);
		}
		expect_path(path_data(), root ? "/var/lib/wnodes" : "/h/.local/share/wnodes");
		expect_path(path_cache(), root ? "/var/cache/wnodes" : "/h/.cache/wnodes");
		expect_path(path_runtime(), root ? "/run/wnodes" : runtime);
	}
	unsetenv("XDG_CONFIG_HOME");
	expect_path(path_config(), "/h/.config/wnodes");
	unsetenv("XDG_STATE_HOME");
	expect_path(path_state(), "/h/.local/state/wnodes");
}

static void root_directory_as_home_gives_no_double_slash(void **state)
{
	autofree char *home = strdup(getenv("HOME") ? getenv("HOME") : "/root");

	unsetenv("XDG_CONFIG_HOME");
	setenv("HOME", "/", 1);
	expect_path(path_config(), "/.config/wnodes");
	setenv("HOME", home, 1);
}

static void absolute_path_is_normal(void **state)
{
	static const struct {
		const char *from, *to;
	} samples[] = {
		{"/", "/"},
		{"//", "/"},
		{"/a/b", "/a/b"},
		{"/a//b/", "/a/b"},
		{"/a/./b/.", "/a/b"},
		{"/a/../b", "/b"},
		{"/../..", "/"},
		{"/a/..", "/"},
		{"/a/b/../../../c", "/c"},
		{"/a/...", "/a/..."},
		{"/.hidden", "/.hidden"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		expect_path(path_absolute(samples[i].from), samples[i].to);
}

static void relative_path_starts_in_the_current_directory(void **state)
{
	assert_int_equal(chdir("/usr/bin"), 0);
	expect_path(path_absolute("x"), "/usr/bin/x");
	expect_path(path_absolute("../x"), "/usr/x");
	expect_path(path_absolute("."), "/usr/bin");
	expect_path(path_absolute(""), "/usr/bin");
	assert_int_equal(chdir("/"), 0);
	expect_path(path_absolute("x"), "/x");
	expect_path(path_absolute(".."), "/");
}

static void programs_are_searched_beyond_path_but_not_in_relative_directories(void **state)
{
	char directory[] = "/tmp/wnodes-path-test-XXXXXX";
	autofree char *file = NULL, *search = NULL, *relative = NULL;

	assert_non_null(mkdtemp(directory));
	file = path_format("%s/some-program", directory);
	search = path_format("/nonexistent::%s:/bin", directory);
	relative = path_format("%s:", directory + 1);
	close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0755));
	expect_path(path_find_program(search, "some-program"), file);
	assert_null(path_find_program(search, "no-such-program"));
	assert_int_equal(chdir("/"), 0);
	assert_null(path_find_program(relative, "some-program"));
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(directory), 0);
	free(search);
	search = path_search();
	assert_non_null(strstr(search, ":/usr/sbin"));
}

static void below_means_whole_components(void **state)
{
	assert_true(path_is_below("/a/b", "/a"));
	assert_true(path_is_below("/a", "/a"));
	assert_true(path_is_below("/a", "/"));
	assert_false(path_is_below("/ab", "/a"));
	assert_false(path_is_below("/", "/a"));
	assert_false(path_is_below("/b/a", "/a"));
}

static void format_takes_any_length(void **state)
{
	autofree char *path = path_format("/%05000d", 7);

	assert_int_equal(strlen(path), 5001);
}

/* Runs this program from elsewhere and returns what path_libexec() is there. */
static char *libexec_of(const char *program)
{
	const char *const argv[] = {program, "--libexec", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	char *text = NULL;

	spec.argv = argv;
	assert_int_equal(child_output(&spec, PATIENCE_MS, PATH_MAX, &text, NULL), 0);
	return text;
}

static void libexec_is_the_build_directory_only_where_the_agent_is(void **state)
{
	char directory[] = "/tmp/wnodes-path-test-XXXXXX";
	autofree char *program = NULL, *guest = NULL, *agent = NULL;
	int from = open("/proc/self/exe", O_RDONLY), to;

	assert_non_null(mkdtemp(directory));
	program = path_format("%s/program", directory);
	guest = path_format("%s/src/guest", directory);
	agent = path_format("%s/wnodes-guest", guest);
	to = open(program, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	assert_int_equal(file_copy(from, to, NULL, NULL), 0);
	close(from);
	close(to);
	expect_path(libexec_of(program), WNODES_LIBEXECDIR);
	assert_int_equal(file_make_dirs(guest, 0755), 0);
	expect_path(libexec_of(program), WNODES_LIBEXECDIR);
	close(open(agent, O_WRONLY | O_CREAT, 0755));
	expect_path(libexec_of(program), guest);
	assert_int_equal(file_remove_tree(AT_FDCWD, directory), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(xdg_variables_are_obeyed),
		cmocka_unit_test(defaults_hold_without_xdg_variables),
		cmocka_unit_test(root_directory_as_home_gives_no_double_slash),
		cmocka_unit_test(absolute_path_is_normal),
		cmocka_unit_test(relative_path_starts_in_the_current_directory),
		cmocka_unit_test(programs_are_searched_beyond_path_but_not_in_relative_directories),
		cmocka_unit_test(below_means_whole_components),
		cmocka_unit_test(format_takes_any_length),
		cmocka_unit_test(libexec_is_the_build_directory_only_where_the_agent_is),
	};

	if (argc == 2 && streq(argv[1], "--libexec"))
		return fputs(path_libexec(), stdout) < 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
