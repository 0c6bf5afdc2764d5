#include "image/workdir.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/file.h"
#include "lib/path.h"

static int setup(void **state)
{
	char *directory = strdup("/tmp/wnodes-workdir-test-XXXXXX");

	if (!directory || !mkdtemp(directory) || chdir(directory) < 0 ||
		mkdir("outside", 0755) < 0 || setenv("TMPDIR", "", 1) < 0)
		return -1;
	*state = directory;
	return 0;
}

static int teardown(void **state)
{
	autofree char *directory = *state;

	return chdir("/") < 0 || file_remove_tree(AT_FDCWD, directory) < 0;
}

static struct store *open_store(void)
{
	struct store *s = NULL;

	assert_int_equal(store_open("store", true, &s, NULL), 0);
	return s;
}

static struct workdir *open_workdir(struct store *s)
{
	autofree char *outside = path_absolute("outside");
	struct workdir *w = NULL;
	struct error err = {0};

	assert_int_equal(setenv("TMPDIR", outside, 1), 0);
	if (workdir_open(s, &w, &err) < 0)
		fail_msg("%s", err.text);
	return w;
}

static void fill(const struct workdir *w)
{
	autofree char *inside = workdir_file(w, "a/b/c");
	autofree char *outside = path_format("%s/d/e", w->outside);
	autofree char *file = path_format("%s/f", outside);

	assert_int_equal(file_make_dirs(inside, 0755), 0);
	assert_int_equal(file_make_dirs(outside, 0755), 0);
	assert_int_equal(file_replace(AT_FDCWD, file, "x", 1, 0644), 0);
}

static uint64_t collect(struct store *s, bool dry_run)
{
	struct error err = {0};
	uint64_t files, bytes;

	if (store_collect(s, dry_run, &files, &bytes, &err) < 0)
		fail_msg("%s", err.text);
	return files;
}

static void others_see_only_the_directory_outside(void **state)
{
	struct store *s AUTO(store_freep) = open_store();
	struct workdir *w AUTO(workdir_freep) = NULL;
	struct stat inside, outside;
	mode_t mask = umask(077);

	w = open_workdir(s);
	umask(mask);
	assert_int_equal(stat(w->path, &inside), 0);
	assert_int_equal(stat(w->outside, &outside), 0);
	assert_int_equal(inside.st_mode & 07777, 0700);
	assert_int_equal(outside.st_mode & 07777, 0755);
}

static void freeing_removes_both_with_all_that_is_in_them(void **state)
{
	struct store *s AUTO(store_freep) = open_store();
	struct workdir *w = open_workdir(s);
	autofree char *path = strdup(w->path), *outside = strdup(w->outside);

	fill(w);
	w = workdir_free(w);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(outside, F_OK), -1);
}

static void the_collector_leaves_one_in_use_alone(void **state)
{
	struct store *s AUTO(store_freep) = open_store();
	struct workdir *w AUTO(workdir_freep) = open_workdir(s);

	fill(w);
	assert_int_equal(collect(s, false), 0);
	assert_int_equal(access(w->path, F_OK), 0);
}

static void the_collector_removes_what_a_killed_builder_left(void **state)
{
	struct store *s AUTO(store_freep) = open_store();
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fill(open_workdir(open_store()));
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(collect(s, true), 1);
	assert_int_equal(collect(s, false), 1);
	assert_int_equal(rmdir("outside"), 0);
	assert_int_equal(rmdir("store/tmp"), 0);
}

/* The link is read back from disk: it must not lead the collector anywhere else. */
static void a_link_to_another_directory_is_not_followed(void **state)
{
	struct store *s AUTO(store_freep) = open_store();
	autofree char *precious = path_absolute("precious");

	assert_int_equal(mkdir("precious", 0755), 0);
	assert_int_equal(mkdir("store/tmp/build-x", 0700), 0);
	assert_int_equal(symlink(precious, "store/tmp/build-x/outside"), 0);
	assert_int_equal(mkdir("store/tmp/build-y", 0700), 0);
	assert_int_equal(symlink("outside/wnodes-build-z", "store/tmp/build-y/outside"), 0);
	assert_int_equal(symlink(precious, "outside/wnodes-build-z"), 0);
	assert_int_equal(collect(s, false), 2);
	assert_int_equal(access("precious", F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			others_see_only_the_directory_outside, setup, teardown),
		cmocka_unit_test_setup_teardown(
			freeing_removes_both_with_all_that_is_in_them, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_collector_leaves_one_in_use_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_collector_removes_what_a_killed_builder_left, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_link_to_another_directory_is_not_followed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
