#include "hypervisor/volume_data.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/file.h"

/* Behind ours: its fail() is a macro. */
#include <cmocka.h>

#define ID   "00000000-0000-4000-8000-000000000001"
#define COPY "00000000-0000-4000-8000-000000000002"
#define MIB  (UINT64_C(1) << 20)

static char path[] = "/tmp/wnodes-volume-test.XXXXXX";
static int directory;
static struct volume_owner owner;
static struct error err;

static int setup(void **state)
{
	owner = (struct volume_owner){getuid(), getgid()};
	return mkdtemp(path) && (directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0
		       ? 0
		       : -1;
}

static int teardown(void **state)
{
	close(directory);
	return file_remove_tree(AT_FDCWD, path);
}

static int make(const char *id)
{
	return volume_data_make(directory, id, 16 * MIB, &owner, &err);
}

static void it_is_there_when_it_is_whole(void **state)
{
	uint64_t size;

	/* One of whom nothing is known, as its maker was killed. */
	close(openat(directory, ID ".part", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(volume_data_size(directory, ID, &size), -ENOENT);
	assert_int_equal(make(ID), 0);
	assert_int_equal(make(ID), 0);
	assert_int_equal(volume_data_size(directory, ID, &size), 0);
	assert_int_equal(size, 16 * MIB);
	close(openat(directory, COPY ".part", O_CREAT | O_WRONLY, 0600));
	volume_data_sweep(directory);
	assert_int_equal(faccessat(directory, COPY ".part", F_OK, 0), -1);
	assert_int_equal(faccessat(directory, ID, F_OK, 0), 0);
	assert_int_equal(volume_data_remove(directory, ID, &err), 0);
	assert_int_equal(volume_data_remove(directory, ID, &err), 0);
}

static void one_writes_or_several_read(void **state)
{
	int writer, reader, other;

	assert_int_equal(make(ID), 0);
	writer = volume_data_open(directory, ID, false, &err);
	assert_true(writer >= 0);
	assert_int_equal(volume_data_open(directory, ID, false, &err), -EBUSY);
	assert_int_equal(volume_data_open(directory, ID, true, &err), -EBUSY);
	assert_int_equal(volume_data_remove(directory, ID, &err), -EBUSY);
	assert_int_equal(volume_data_grow(directory, ID, 32 * MIB, &owner, &err), -EBUSY);
	assert_int_equal(volume_data_copy(directory, COPY, ID, &err), -EBUSY);
	/* As long as any descriptor of it is open. */
	other = dup(writer);
	close(writer);
	assert_int_equal(volume_data_open(directory, ID, false, &err), -EBUSY);
	close(other);
	reader = volume_data_open(directory, ID, true, &err);
	other = volume_data_open(directory, ID, true, &err);
	assert_true(reader >= 0 && other >= 0);
	assert_int_equal(volume_data_open(directory, ID, false, &err), -EBUSY);
	assert_int_equal(volume_data_copy(directory, COPY, ID, &err), 0);
	close(reader);
	close(other);
	assert_int_equal(volume_data_remove(directory, ID, &err), 0);
	assert_int_equal(volume_data_remove(directory, COPY, &err), 0);
}

static void a_copy_is_what_the_source_was(void **state)
{
	char text[6] = "";
	int fd;

	assert_int_equal(make(ID), 0);
	fd = volume_data_open(directory, ID, false, &err);
	assert_int_equal(pwrite(fd, "before", 6, 8 * (off_t)MIB), 6);
	close(fd);
	assert_int_equal(volume_data_copy(directory, COPY, ID, &err), 0);
	fd = volume_data_open(directory, ID, false, &err);
	assert_int_equal(pwrite(fd, "after!", 6, 8 * (off_t)MIB), 6);
	close(fd);
	assert_int_equal(volume_data_copy(directory, COPY, ID, &err), 0);
	fd = volume_data_open(directory, COPY, true, &err);
	assert_int_equal(pread(fd, text, 6, 8 * (off_t)MIB), 6);
	assert_memory_equal(text, "before", 6);
	close(fd);
	volume_data_remove(directory, COPY, &err);
	volume_data_remove(directory, ID, &err);
}

static void its_file_system_grows_with_it(void **state)
{
	uint32_t blocks[2], log_size;
	uint64_t size;
	int fd;

	assert_int_equal(make(ID), 0);
	assert_int_equal(volume_data_grow(directory, ID, 64 * MIB, &owner, &err), 0);
	assert_int_equal(volume_data_grow(directory, ID, 64 * MIB, &owner, &err), 0);
	assert_int_equal(volume_data_size(directory, ID, &size), 0);
	assert_int_equal(size, 64 * MIB);
	/* s_blocks_count_lo and s_log_block_size of the superblock. */
	fd = volume_data_open(directory, ID, true, &err);
	assert_int_equal(pread(fd, blocks, 4, 1028), 4);
	assert_int_equal(pread(fd, &log_size, 4, 1048), 4);
	close(fd);
	assert_int_equal((uint64_t)blocks[0] << (10 + log_size), 64 * MIB);
	volume_data_remove(directory, ID, &err);
}

static void a_generation_that_is_over_does_not_begin(void **state)
{
	assert_int_equal(make(ID), 0);
	assert_int_equal(volume_data_begin(directory, ID, 3, "boot-1", &err), 0);
	assert_int_equal(volume_data_begin(directory, ID, 3, "boot-1", &err), 0);
	assert_int_equal(volume_data_begin(directory, ID, 2, "boot-1", &err), -ESTALE);
	assert_int_equal(volume_data_begin(directory, ID, 3, "boot-2", &err), -EIO);
	assert_int_equal(volume_data_begin(directory, ID, 4, "boot-2", &err), 0);
	assert_int_equal(volume_data_begin(directory, ID, 3, "boot-1", &err), -ESTALE);
	volume_data_remove(directory, ID, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_there_when_it_is_whole),
		cmocka_unit_test(one_writes_or_several_read),
		cmocka_unit_test(a_copy_is_what_the_source_was),
		cmocka_unit_test(its_file_system_grows_with_it),
		cmocka_unit_test(a_generation_that_is_over_does_not_begin),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
