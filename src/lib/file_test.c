#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/path.h"

/* Each test has a directory of its own, which is also the working directory. */
static int setup(void **state)
{
	char *directory = strdup("/tmp/wnodes-file-test-XXXXXX");

	if (!directory || !mkdtemp(directory) || chdir(directory) < 0)
		return -1;
	*state = directory;
	return 0;
}

static int teardown(void **state)
{
	autofree char *directory = *state;

	return chdir("/") < 0 || file_remove_tree(AT_FDCWD, directory) < 0 ||
	       access(directory, F_OK) == 0;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void read_gives_the_whole_file(void **state)
{
	autofree char *text = NULL, *large = calloc(1, 100001), *again = NULL, *stat = NULL;
	size_t length = 0;

	put("small", "abc");
	assert_int_equal(file_read(AT_FDCWD, "small", 3, &text, &length), 0);
	assert_int_equal(length, 3);
	assert_string_equal(text, "abc");
	memset(large, 'x', 100000);
	put("large", large);
	assert_int_equal(file_read(AT_FDCWD, "large", 100000, &again, &length), 0);
	assert_int_equal(length, 100000);
	assert_string_equal(again, large);
	/* Says that its size is 0. */
	assert_int_equal(file_read(AT_FDCWD, "/proc/self/stat", 100000, &stat, NULL), 0);
	assert_true(strlen(stat) > 10);
}

static void read_of_more_than_the_limit_is_refused(void **state)
{
	char *text = NULL;

	put("file", "abcd");
	assert_int_equal(file_read(AT_FDCWD, "file", 3, &text, NULL), -EFBIG);
	assert_int_equal(file_read(AT_FDCWD, "/dev/zero", 10000, &text, NULL), -EFBIG);
	assert_int_equal(file_read(AT_FDCWD, "/proc/self/stat", 3, &text, NULL), -EFBIG);
	assert_int_equal(file_read(AT_FDCWD, "absent", 3, &text, NULL), -ENOENT);
	assert_int_equal(file_read(AT_FDCWD, ".", 3, &text, NULL), -EISDIR);
	assert_null(text);
}

static size_t entries(void)
{
	FILE *ls = popen("ls -A | wc -l", "r");
	unsigned int n = 0;

	assert_int_equal(fscanf(ls, "%u", &n), 1);
	pclose(ls);
	return n;
}

static void replace_leaves_the_new_file_and_nothing_else(void **state)
{
	autofree char *text = NULL;
	struct stat st;

	put("file", "old and longer");
	assert_int_equal(file_replace(AT_FDCWD, "file", "new", 3, 0640), 0);
	assert_int_equal(file_read(AT_FDCWD, "file", 100, &text, NULL), 0);
	assert_string_equal(text, "new");
	assert_int_equal(stat("file", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(entries(), 1);
}

static void replace_that_fails_leaves_the_old_file(void **state)
{
	assert_int_equal(mkdir("taken", 0755), 0);
	assert_int_equal(file_replace(AT_FDCWD, "taken", "new", 3, 0644), -EISDIR);
	assert_int_equal(file_replace(AT_FDCWD, "absent/file", "new", 3, 0644), -ENOENT);
	assert_int_equal(file_replace(AT_FDCWD, "taken/", "new", 3, 0644), -EINVAL);
	assert_int_equal(entries(), 1);
}

static void replace_works_below_a_descriptor(void **state)
{
	autofree char *text = NULL;
	int dir;

	assert_int_equal(file_make_dirs("a/b", 0755), 0);
	dir = open("a", O_RDONLY | O_DIRECTORY);
	assert_int_equal(file_replace(dir, "b/file", "new", 3, 0644), 0);
	assert_int_equal(file_read(dir, "b/file", 100, &text, NULL), 0);
	assert_string_equal(text, "new");
	close(dir);
}

static void make_dirs_makes_what_is_missing(void **state)
{
	autofree char *absolute = path_format("%s/x/y", (const char *)*state);
	struct stat st;

	assert_int_equal(file_make_dirs("a//b/c/", 0700), 0);
	assert_int_equal(stat("a/b/c", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(file_make_dirs("a/b/c", 0700), 0);
	assert_int_equal(file_make_dirs(absolute, 0700), 0);
	assert_int_equal(access("x/y", F_OK), 0);
	put("file", "");
	assert_int_equal(file_make_dirs("file", 0700), -ENOTDIR);
	assert_int_equal(file_make_dirs("file/d", 0700), -ENOTDIR);
}

static void remove_tree_does_not_follow_links(void **state)
{
	assert_int_equal(file_make_dirs("tree/a/b", 0755), 0);
	assert_int_equal(file_make_dirs("outside", 0755), 0);
	put("outside/precious", "x");
	put("tree/a/b/file", "x");
	assert_int_equal(symlink("../outside", "tree/link"), 0);
	assert_int_equal(symlink("../../outside/precious", "tree/a/link"), 0);
	assert_int_equal(symlink("outside", "link"), 0);
	assert_int_equal(chmod("tree/a/b", 0555), 0);
	assert_int_equal(file_remove_tree(AT_FDCWD, "tree"), 0);
	assert_int_equal(file_remove_tree(AT_FDCWD, "link"), 0);
	assert_int_equal(access("outside/precious", F_OK), 0);
	assert_int_equal(entries(), 1);
	assert_int_equal(file_remove_tree(AT_FDCWD, "tree"), 0);
}

static void remove_tree_takes_many_files_and_stops_at_depth(void **state)
{
	char name[32];

	assert_int_equal(mkdir("tree", 0755), 0);
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "tree/%d", i);
		put(name, "");
	}
	assert_int_equal(file_remove_tree(AT_FDCWD, "tree"), 0);
	assert_int_equal(access("tree", F_OK), -1);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(mkdir("d", 0755), 0);
		assert_int_equal(chdir("d"), 0);
	}
	assert_int_equal(chdir(*state), 0);
	assert_int_equal(file_remove_tree(AT_FDCWD, "d"), -ELOOP);
	assert_int_equal(system("rm -rf d"), 0);
}

static void temporary_file_has_no_name(void **state)
{
	int fd = file_open_temporary(".");
	char text[4] = "";

	assert_true(fd >= 0);
	assert_int_equal(entries(), 0);
	assert_int_equal(file_write_all(fd, "abc", 3), 0);
	assert_int_equal(pread(fd, text, 3, 0), 3);
	assert_string_equal(text, "abc");
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	assert_int_equal(file_open_temporary("absent"), -ENOENT);
}

static void lock_excludes_others(void **state)
{
	int a, b;

	put("lock", "");
	a = open("lock", O_RDWR);
	b = open("lock", O_RDWR);
	assert_int_equal(file_lock(a, false, false), 0);
	assert_int_equal(file_lock(b, false, false), 0);
	assert_int_equal(file_lock(b, true, false), -EWOULDBLOCK);
	close(a);
	assert_int_equal(file_lock(b, true, true), 0);
	close(b);
}

static void remember_progress(uint64_t done, void *userdata)
{
	uint64_t *last = userdata;

	assert_true(done >= *last);
	*last = done;
}

/* 40 MiB with data at the start, in the middle and at the end, and holes between. */
static int make_sparse(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 40 << 20), 0);
	assert_int_equal(pwrite(fd, "start", 5, 0), 5);
	assert_int_equal(pwrite(fd, "middle", 6, (20 << 20) + 123), 6);
	assert_int_equal(pwrite(fd, "end", 3, (40 << 20) - 3), 3);
	return fd;
}

static void copy_has_the_same_bytes_and_holes(void **state)
{
	int from = make_sparse("from"), to = open("to", O_RDWR | O_CREAT, 0644);
	uint64_t done = 0;
	struct stat st;

	/* What was there before must not show through the holes. */
	assert_int_equal(pwrite(to, "junk", 4, 10 << 20), 4);
	assert_int_equal(file_copy(from, to, remember_progress, &done), 0);
	assert_int_equal(done, 40 << 20);
	assert_int_equal(system("cmp from to"), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_true(st.st_blocks * 512 < 1 << 20);
	close(from);
	close(to);
}

static void copy_of_empty_and_hollow_files(void **state)
{
	int from = open("from", O_RDWR | O_CREAT, 0644), to = open("to", O_RDWR | O_CREAT, 0644);
	struct stat st;

	assert_int_equal(file_copy(from, to, NULL, NULL), 0);
	assert_int_equal(ftruncate(from, 1 << 30), 0);
	assert_int_equal(file_copy(from, to, NULL, NULL), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 1 << 30);
	assert_int_equal(st.st_blocks, 0);
	close(from);
	close(to);
}

static void copy_tells_of_a_target_that_cannot_be_written(void **state)
{
	int from = make_sparse("from"), to;

	put("to", "");
	to = open("to", O_RDONLY);
	assert_true(file_copy(from, to, NULL, NULL) < 0);
	close(from);
	close(to);
}

static void find_data_walks_over_all_data(void **state)
{
	int fd = make_sparse("file");
	uint64_t at = 0, start, end, pieces = 0, data = 0;

	for (; at < 40 << 20; at = end, pieces++) {
		assert_int_equal(file_find_data(fd, at, 40 << 20, &start, &end), 0);
		assert_true(start >= at && end >= start && end <= 40 << 20);
		data += end - start;
	}
	assert_int_equal(pieces, 3);
	assert_in_range(data, 3, 1 << 20);
	close(fd);
}

static void nonblocking_is_set_and_cleared(void **state)
{
	int ends[2];
	char c;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(file_set_nonblocking(ends[0], true), 0);
	assert_int_equal(read(ends[0], &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(file_set_nonblocking(ends[0], false), 0);
	assert_int_equal(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(file_set_nonblocking(ends[0], true), -EBADF);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(read_gives_the_whole_file),
		FILE_TEST(read_of_more_than_the_limit_is_refused),
		FILE_TEST(replace_leaves_the_new_file_and_nothing_else),
		FILE_TEST(replace_that_fails_leaves_the_old_file),
		FILE_TEST(replace_works_below_a_descriptor),
		FILE_TEST(make_dirs_makes_what_is_missing),
		FILE_TEST(remove_tree_does_not_follow_links),
		FILE_TEST(remove_tree_takes_many_files_and_stops_at_depth),
		FILE_TEST(temporary_file_has_no_name),
		FILE_TEST(lock_excludes_others),
		FILE_TEST(copy_has_the_same_bytes_and_holes),
		FILE_TEST(copy_of_empty_and_hollow_files),
		FILE_TEST(copy_tells_of_a_target_that_cannot_be_written),
		FILE_TEST(find_data_walks_over_all_data),
		FILE_TEST(nonblocking_is_set_and_cleared),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
