/* The script itself is run, on files of a directory of ours: a recipe's paths may be anywhere. */
#include "image/recipe_script.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "image/runner.h"
#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

#define TIMEOUT_MS 20000
#define OUTPUT_MAX 65536

static char directory[64];

static int setup(void **state)
{
	snprintf(directory, sizeof(directory), "/tmp/wnodes-script.XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
	return file_remove_tree(AT_FDCWD, directory);
}

/* Runs what the recipe (in which every @ is the directory) becomes, as the user that we are.
 * Returns the exit status. */
static int apply(const char *text, enum recipe_target target, char *ret_output)
{
	struct recipe *r AUTO(recipe_freep) = NULL;
	struct buffer script AUTO(buffer_done) = {0};
	autofree char *recipe = calloc(1, strlen(text) * 64 + 1);
	autofree char *path = path_format("%s/script", directory);
	const char *const argv[] = {
		"sh", "-c", "sh \"$1\" 2>&1 || echo \"status $?\"", "sh", path, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	autofree char *output = NULL;
	struct error err = {0};

	for (; *text; text++)
		snprintf(recipe + strlen(recipe), 64, "%.*s", *text == '@' ? 63 : 1,
			*text == '@' ? directory : text);
	if (recipe_parse(recipe, strlen(recipe), "r", "/", &r, &err) < 0 ||
		recipe_script(r, target, &script, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(file_replace(AT_FDCWD, path, buffer_head(&script), script.len, 0700), 0);
	spec.argv = argv;
	if (child_output(&spec, TIMEOUT_MS, OUTPUT_MAX, &output, &err) < 0)
		fail_msg("%s", err.text);
	snprintf(ret_output, OUTPUT_MAX, "%s", output);
	return strstr(output, "status ") ? -1 : 0;
}

static void put(const char *name, const char *text)
{
	autofree char *path = path_format("%s/%s", directory, name);

	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static void assert_has(const char *name, const char *text)
{
	autofree char *path = path_format("%s/%s", directory, name);
	autofree char *found = NULL;
	size_t length;

	assert_int_equal(file_read(AT_FDCWD, path, OUTPUT_MAX, &found, &length), 0);
	assert_string_equal(found, text);
}

static void skip_unless_root(void)
{
	if (geteuid() != 0)
		skip();
}

static void files_are_written_as_they_are(void **state)
{
	autofree char *path = path_format("%s/new/deep/file", directory);
	char output[OUTPUT_MAX];
	struct stat st;

	skip_unless_root();
	assert_int_equal(apply("[file @/new/deep/file]\ncontent =\n| it's $HOME `x`\n| WNODES_END\n"
			       "mode = 2750\nowner = daemon:1\n"
			       "[file @/one]\ncontent = one line\n[file @/none]\ncontent =\n"
			       "[file @/raw]\nbase64 = AAEC\n",
				 RECIPE_BUILT, output),
		0);
	assert_has("new/deep/file", "it's $HOME `x`\nWNODES_END\n");
	assert_has("one", "one line\n");
	assert_has("none", "");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 02750);
	assert_int_equal(st.st_uid, 1);
	free(TAKE_PTR(path));
	path = path_format("%s/raw", directory);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 3);
}

static void a_link_is_replaced_not_followed(void **state)
{
	autofree char *link = path_format("%s/link", directory);
	char output[OUTPUT_MAX];
	struct stat st;

	skip_unless_root();
	put("target", "old\n");
	assert_int_equal(symlink("target", link), 0);
	assert_int_equal(apply("[file @/link]\ncontent = new\n", RECIPE_BUILT, output), 0);
	assert_has("target", "old\n");
	assert_has("link", "new\n");
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void edits_append_and_replace(void **state)
{
	char output[OUTPUT_MAX];

	put("conf", "# Port 22\nPermit yes\nlast");
	assert_int_equal(apply("[edit @/conf]\nappend = it's new\nappend = Permit yes\n"
			       "append = -e $x\nreplace = |# (port) .*|\\1 2222|I\n",
				 RECIPE_BUILT, output),
		0);
	assert_has("conf", "Port 2222\nPermit yes\nlast\nit's new\n-e $x\n");
	/* Once more: lines that are there are not added again. */
	assert_int_equal(
		apply("[edit @/conf]\nappend = it's new\nreplace = /Permit yes/Permit yes/\n",
			RECIPE_BUILT, output),
		0);
	assert_has("conf", "Port 2222\nPermit yes\nlast\nit's new\n-e $x\n");
}

static void what_changes_nothing_is_a_mistake(void **state)
{
	char output[OUTPUT_MAX], reason[RUNNER_REASON_MAX];

	put("conf", "a\n");
	assert_int_equal(apply("[edit @/conf]\nreplace = /none/b/\n", RECIPE_BUILT, output), -1);
	runner_reason(output, reason);
	assert_non_null(strstr(reason, "conf]: no line has the expression of /none/b/"));
	assert_has("conf", "a\n");
	assert_int_equal(apply("[edit @/missing]\nappend = x\n", RECIPE_BUILT, output), -1);
	runner_reason(output, reason);
	assert_non_null(strstr(reason, "there is no such file"));
	assert_int_equal(apply("[edit @/conf]\nreplace = /(/b/\n", RECIPE_BUILT, output), -1);
	runner_reason(output, reason);
	assert_non_null(strstr(reason, "sed does not take /(/b/"));
}

static void what_is_to_do(void **state)
{
	static const struct {
		const char *text;
		bool built, foreign;
	} cases[] = {
		{"", true, true},
		{"[image]\npackages = bc\n[check x]\ncommand = true\n", true, true},
		{"[image]\nmodules = loop\n", true, false},
		{"[image]\nrun = true\n", false, false},
		{"[services]\nenable = x\n", false, false},
		{"[edit /x]\nappend = x\n", false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct recipe *r AUTO(recipe_freep) = NULL;

		assert_int_equal(
			recipe_parse(cases[i].text, strlen(cases[i].text), "r", NULL, &r, NULL), 0);
		assert_int_equal(recipe_script_is_empty(r, RECIPE_BUILT), cases[i].built);
		assert_int_equal(recipe_script_is_empty(r, RECIPE_FOREIGN), cases[i].foreign);
	}
}

static void the_log_and_modules(void **state)
{
	static const char text[] = "[image]\nsyslog = tcp://log:10514\nmodules = loop, nfs\n";
	struct recipe *r AUTO(recipe_freep) = NULL;
	struct buffer script AUTO(buffer_done) = {0};
	const char *found;

	assert_int_equal(recipe_parse(text, strlen(text), "r", NULL, &r, NULL), 0);
	assert_int_equal(recipe_script(r, RECIPE_FOREIGN, &script, NULL), 0);
	assert_int_equal(buffer_append(&script, "", 1), 0);
	found = (const char *)buffer_head(&script);
	assert_non_null(strstr(found, "write '/etc/rsyslog.d/90-wnodes.conf' '0644' root:root"));
	assert_non_null(strstr(found, "write '/etc/modules-load.d/wnodes.conf'"));
	assert_non_null(strstr(found, "bG9vcApuZnMK\n")); /* "loop\nnfs\n" */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files_are_written_as_they_are, setup, teardown),
		cmocka_unit_test_setup_teardown(a_link_is_replaced_not_followed, setup, teardown),
		cmocka_unit_test_setup_teardown(edits_append_and_replace, setup, teardown),
		cmocka_unit_test_setup_teardown(what_changes_nothing_is_a_mistake, setup, teardown),
		cmocka_unit_test(what_is_to_do),
		cmocka_unit_test(the_log_and_modules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
