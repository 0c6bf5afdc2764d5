#include "vm/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/child.h"

#include <cmocka.h>

#define GIB (UINT64_C(1) << 30)

static int open_disk(uint64_t bytes)
{
	struct error err = {0};
	int fd = scratch_open("/tmp", bytes, false, &err);

	if (fd < 0)
		fail_msg("%s", err.text);
	return fd;
}

static void assert_sound(int fd)
{
	char path[40];
	const char *argv[] = {"e2fsck", "-f", "-n", path, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	spec.argv = argv;
	spec.keep = &fd;
	spec.keep_count = 1;
	if (child_run(&spec, 60000, &err) < 0)
		fail_msg("%s", err.text);
}

static void file_system_is_sound_at_any_size(void **state)
{
	static const uint64_t sizes[] = {
		SCRATCH_SIZE_MIN, 100 * 1000 * 1000 + 1, 3 * GIB, 500 * GIB};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		autoclose int fd = open_disk(sizes[i]);
		struct stat st;

		assert_int_equal(fstat(fd, &st), 0);
		assert_true((uint64_t)st.st_size == sizes[i]);
		assert_sound(fd);
	}
}

/* As users have it on Debian. */
static void mke2fs_is_found_where_users_do_not_search(void **state)
{
	autofree char *path = strdup(getenv("PATH"));
	int fd;

	setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
	fd = open_disk(SCRATCH_SIZE_MIN);
	setenv("PATH", path, 1);
	assert_sound(fd);
	close(fd);
}

static void empty_disk_takes_little_space_and_has_no_name(void **state)
{
	autoclose int fd = open_disk(100 * GIB);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_true(st.st_blocks * 512 < 64 * 1024 * 1024);
}

static void disk_that_is_too_small_is_refused(void **state)
{
	struct error err = {0};

	assert_int_equal(scratch_open("/tmp", SCRATCH_SIZE_MIN - 1, false, &err), -EINVAL);
	assert_non_null(strstr(err.text, "16 MiB"));
	assert_true(scratch_open("/tmp", UINT64_MAX, false, &err) < 0);
}

static void missing_directory_is_named(void **state)
{
	struct error err = {0};

	assert_int_equal(scratch_open("/not/there", GIB, false, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/not/there"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_system_is_sound_at_any_size),
		cmocka_unit_test(mke2fs_is_found_where_users_do_not_search),
		cmocka_unit_test(empty_disk_takes_little_space_and_has_no_name),
		cmocka_unit_test(disk_that_is_too_small_is_refused),
		cmocka_unit_test(missing_directory_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
