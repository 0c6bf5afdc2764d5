#include "image/seed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

#define SECTOR 2048

static int setup(void **state)
{
	char *directory = strdup("/tmp/wnodes-seed-test-XXXXXX");

	if (!directory || !mkdtemp(directory) || chdir(directory) < 0 ||
		file_replace(AT_FDCWD, "agent", "the agent", 9, 0755) < 0)
		return -1;
	*state = directory;
	return 0;
}

static int teardown(void **state)
{
	autofree char *directory = *state;

	return chdir("/") < 0 || file_remove_tree(AT_FDCWD, directory) < 0;
}

/* A machine without any of the programs cannot run these tests. */
static int open_seed(void)
{
	struct error err = {0};
	int fd = seed_open_in("cache", "agent", &err);

	if (fd == -ENOENT && strstr(err.text, "xorriso"))
		skip();
	if (fd < 0)
		fail_msg("%s", err.text);
	return fd;
}

/* Finds a text in the image; files in it are stored as they are. */
static bool contains(int fd, const char *text)
{
	autofree char *data = NULL;
	char path[32];
	size_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 24, &data, &length), 0);
	return memmem(data, length, text, strlen(text)) != NULL;
}

static int count_entries(const char *path, const char *prefix)
{
	DIR *directory = opendir(path);
	int n = 0;

	assert_non_null(directory);
	for (const struct dirent *e; (e = readdir(directory));)
		n += e->d_name[0] != '.' && str_after(e->d_name, prefix);
	closedir(directory);
	return n;
}

/* cloud-init finds its data source by the label of an ISO 9660 volume. Source: ECMA-119, 8.4. */
static void it_is_a_volume_that_cloud_init_finds(void **state)
{
	autoclose int fd = open_seed();
	char descriptor[SECTOR];

	assert_int_equal(pread(fd, descriptor, SECTOR, 16 * SECTOR), SECTOR);
	assert_memory_equal(descriptor, "\1CD001\1", 7);
	assert_memory_equal(descriptor + 40, "CIDATA  ", 8);
	assert_int_equal(write(fd, "x", 1), -1);
}

static void it_brings_the_agent_and_starts_it(void **state)
{
	autoclose int fd = open_seed();

	assert_true(contains(fd, "the agent"));
	assert_true(contains(fd, "#cloud-config\nbootcmd:"));
	assert_true(contains(fd, "instance-id: wnodes"));
	assert_true(contains(fd, "ethernets: {}"));
}

static void its_files_have_the_names_that_cloud_init_reads(void **state)
{
	const char *const argv[] = {"xorriso", "-indev", NULL, "-find", "/", NULL};
	static const char *const names[] = {
		"'/user-data'", "'/meta-data'", "'/network-config'", "'/wnodes-guest'"};
	struct child_spec spec = CHILD_SPEC_INIT;
	autoclose int fd = open_seed();
	autofree char *path = path_format("stdio:/proc/self/fd/%d", fd), *text = NULL;
	const char *list[ARRAY_SIZE(argv)];
	struct error err = {0};
	int r;

	memcpy(list, argv, sizeof(argv));
	list[2] = path;
	spec.argv = list;
	spec.keep = &fd;
	spec.keep_count = 1;
	r = child_output(&spec, 60000, 1 << 20, &text, &err);
	if (r == -ENOENT)
		skip();
	if (r < 0)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strstr(text, names[i]))
			fail_msg("%s is not in:\n%s", names[i], text);
}

static void a_second_one_is_not_made(void **state)
{
	autoclose int first = open_seed(), second = open_seed();
	struct stat a, b;

	assert_int_equal(fstat(first, &a), 0);
	assert_int_equal(fstat(second, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(count_entries("cache", ""), 1);
}

static void another_agent_gets_another_seed(void **state)
{
	autoclose int first = open_seed();
	autoclose int second = -1;

	assert_int_equal(file_replace(AT_FDCWD, "agent", "a new agent", 11, 0755), 0);
	second = open_seed();
	assert_true(contains(second, "a new agent"));
	/* The old one is gone from the cache, but not from under who uses it. */
	assert_true(contains(first, "the agent"));
	assert_int_equal(count_entries("cache", "seed-"), 1);
}

static void what_a_killed_process_left_is_removed(void **state)
{
	assert_int_equal(file_make_dirs("cache/tmp-seed-abcdef/content", 0700), 0);
	base_close(open_seed());
	assert_int_equal(count_entries("cache", "tmp-"), 0);
	assert_int_equal(count_entries("cache", "seed-"), 1);
}

static void several_processes_may_make_it_at_once(void **state)
{
	pid_t pids[4];

	base_close(open_seed());
	assert_int_equal(file_remove_tree(AT_FDCWD, "cache"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			int fd = seed_open_in("cache", "agent", NULL);

			_exit(fd >= 0 && contains(fd, "the agent") ? 0 : 1);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(count_entries("cache", ""), 1);
}

static void a_missing_agent_is_named(void **state)
{
	struct error err = {0};

	assert_int_equal(seed_open_in("cache", "none", &err), -ENOENT);
	assert_non_null(strstr(err.text, "'none'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			it_is_a_volume_that_cloud_init_finds, setup, teardown),
		cmocka_unit_test_setup_teardown(it_brings_the_agent_and_starts_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
			its_files_have_the_names_that_cloud_init_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(a_second_one_is_not_made, setup, teardown),
		cmocka_unit_test_setup_teardown(another_agent_gets_another_seed, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_a_killed_process_left_is_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(
			several_processes_may_make_it_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_agent_is_named, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
