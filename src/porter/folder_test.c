#include "porter/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/file.h"

#define READINGS 64

static char directory[] = "/tmp/wnodes-folder.XXXXXX";
static atomic_int woken;

static void on_wake(void *userdata)
{
	woken++;
}

static void put(const char *name, const char *text)
{
	int dir_fd = open(directory, O_RDONLY | O_DIRECTORY);

	assert_int_equal(file_replace(dir_fd, name, text, strlen(text), 0600), 0);
	close(dir_fd);
}

static struct folder *open_folder(void)
{
	struct error err = {0};
	struct folder *f;

	assert_int_equal(
		folder_new(open(directory, O_PATH | O_DIRECTORY), on_wake, NULL, &f, &err), 0);
	return f;
}

/* The result; the bytes are compared. */
static int result_of(struct folder *f, const char *path, uint64_t max, const char *bytes)
{
	struct reading *r = folder_read(f, path, max);
	struct buffer got AUTO(buffer_done) = {0};
	int result = 1;

	assert_non_null(r);
	while (!reading_take(r, &result, &got))
		usleep(1000);
	assert_int_equal(got.len, strlen(bytes));
	if (got.len > 0)
		assert_memory_equal(buffer_head(&got), bytes, got.len);
	return result;
}

static void test_reads_below_only(void **state)
{
	struct folder *f = open_folder();

	assert_int_equal(result_of(f, "/a/b/c", 5, "hello"), 0);
	assert_int_equal(result_of(f, "/a/b/c", 4, ""), -EFBIG);
	assert_int_equal(result_of(f, "/a/b/none", 5, ""), -ENOENT);
	assert_int_equal(result_of(f, "/a/none/c", 5, ""), -ENOENT);
	assert_int_equal(result_of(f, "/a/b", 5, ""), -EINVAL);
	assert_int_equal(result_of(f, "/a/link", 5, ""), -ELOOP);
	assert_int_equal(result_of(f, "/linked/c", 5, ""), -ENOTDIR);
	assert_int_equal(result_of(f, "/a/fifo", 5, ""), -EINVAL);
	assert_int_equal(result_of(f, "/a/../a/b/c", 5, ""), -EINVAL);
	assert_int_equal(result_of(f, "/", 5, ""), -EINVAL);
	folder_free(f);
}

static void test_tells_of_each_end(void **state)
{
	struct reading *readings[READINGS];
	struct folder *f = open_folder();

	woken = 0;
	for (int i = 0; i < READINGS; i++)
		readings[i] = folder_read(f, "/a/b/c", 5);
	for (int i = 0; i < READINGS; i++) {
		struct buffer got AUTO(buffer_done) = {0};
		int result;

		while (!reading_take(readings[i], &result, &got))
			usleep(1000);
		assert_int_equal(result, 0);
		assert_int_equal(got.len, 5);
	}
	assert_int_equal(woken, READINGS);
	folder_free(f);
}

/* In whatever state they are. */
static void test_forgets_what_is_cancelled(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct reading *readings[READINGS];
		struct folder *f = open_folder();

		for (int i = 0; i < READINGS; i++)
			readings[i] = folder_read(f, "/a/b/c", 5);
		for (int i = 0; i < READINGS; i += 2)
			reading_cancel(readings[i]);
		for (int i = READINGS - 1; i > 0; i -= 2)
			reading_cancel(readings[i]);
		folder_free(f);
	}
}

static int set_up(void **state)
{
	char path[128];

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/a/b", directory);
	assert_int_equal(file_make_dirs(path, 0700), 0);
	put("a/b/c", "hello");
	snprintf(path, sizeof(path), "%s/a/link", directory);
	assert_int_equal(symlink("b/c", path), 0);
	snprintf(path, sizeof(path), "%s/linked", directory);
	assert_int_equal(symlink("a/b", path), 0);
	snprintf(path, sizeof(path), "%s/a/fifo", directory);
	assert_int_equal(mkfifo(path, 0600), 0);
	return 0;
}

static int tear_down(void **state)
{
	return file_remove_tree(AT_FDCWD, directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_below_only),
		cmocka_unit_test(test_tells_of_each_end),
		cmocka_unit_test(test_forgets_what_is_cancelled),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
