#include "vm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/file.h"

#include <cmocka.h>

#define MIB  (1024 * 1024)
#define PAGE 4096

/* A sparse file of 64 MiB with three pieces of data: at its start, inside, and at its end. On a
 * disk: files in memory, as /tmp may have, can be sealed, and get pages when one looks at them. */
static int make_memory(void)
{
	static const off_t places[] = {0, 7 * MIB + 3 * PAGE, 64 * MIB - PAGE};
	char page[PAGE];
	int fd = file_open_temporary("/var/tmp");

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 64 * MIB), 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		memset(page, 'a' + (int)i, sizeof(page));
		assert_int_equal(pwrite(fd, page, PAGE, places[i]), PAGE);
	}
	return fd;
}

static int make_memfd(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, MIB), 0);
	return fd;
}

static uint64_t allocated(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void assert_same_content(int a, int b, size_t size)
{
	const char *x = mmap(NULL, size, PROT_READ, MAP_SHARED, a, 0);
	const char *y = mmap(NULL, size, PROT_READ, MAP_SHARED, b, 0);

	assert_true(x != MAP_FAILED && y != MAP_FAILED);
	assert_int_equal(memcmp(x, y, size), 0);
}

static void copy_is_the_same_and_takes_no_more_room(void **state)
{
	autoclose int from = make_memory();
	struct error err = {0};
	autoclose int copy = memory_copy(from, &err);
	struct stat st;

	if (copy < 0)
		fail_msg("%s", err.text);
	assert_int_equal(fstat(copy, &st), 0);
	assert_int_equal(st.st_size, 64 * MIB);
	assert_true(allocated(copy) <= 16 * PAGE);
	assert_same_content(from, copy, 64 * MIB);
	assert_true(fcntl(copy, F_GETFD) & FD_CLOEXEC);
}

static void copy_of_what_is_no_file_is_refused(void **state)
{
	autoclose int directory = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct error err = {0};

	assert_int_equal(memory_copy(directory, &err), -EINVAL);
	assert_non_null(strstr(err.text, "not a regular file"));
	assert_int_equal(memory_copy(-1, &err), -EBADF);
}

/* What a user does who was given the descriptor. Returns 0 if only a private map can be written. */
static int try_to_change(int given)
{
	char path[64];
	char *map;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", given);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 1;
	if (pwrite(fd, "x", 1, 0) >= 0 || ftruncate(fd, 0) == 0 || ftruncate(fd, 2 * MIB) == 0)
		return 2;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE) == 0)
		return 3;
	if (mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
		return 4;
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return 5;
	map[0] = 'x';
	return 0;
}

/* As another user, where there is a right to become one. */
static int try_to_change_as_nobody(int fd)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(geteuid() == 0 && setresuid(65534, 65534, 65534) < 0 ? 99
									   : try_to_change(fd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void sealed_memory_can_be_mapped_by_all_and_changed_by_none(void **state)
{
	autoclose int fd = make_memfd();
	struct error err = {0};
	char byte = 'x';

	if (memory_seal(fd, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(try_to_change(fd), 0);
	assert_int_equal(try_to_change_as_nobody(fd), 0);
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 0);
	assert_int_equal(memory_check_sealed(fd, MIB, &err), 0);
}

static void memory_is_not_sealed_while_somebody_writes_to_it(void **state)
{
	autoclose int fd = make_memfd();
	struct error err = {0};
	void *map = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(map != MAP_FAILED);
	assert_int_equal(memory_seal(fd, &err), -EBUSY);
	assert_int_equal(munmap(map, MIB), 0);
	assert_int_equal(memory_check_sealed(fd, MIB, &err), -EPERM);
	assert_int_equal(memory_seal(fd, &err), 0);
}

static void what_cannot_be_sealed_is_refused(void **state)
{
	autoclose int file = make_memory();
	autoclose int plain = memfd_create("test", MFD_CLOEXEC);
	struct error err = {0};

	assert_int_equal(memory_seal(file, &err), -EINVAL);
	assert_int_equal(memory_seal(plain, &err), -EPERM);
	assert_int_equal(memory_seal(-1, &err), -EBADF);
	assert_non_null(strstr(err.text, "cannot seal"));
}

static void memory_that_could_change_is_not_taken_for_sealed(void **state)
{
	autoclose int file = make_memory();
	autoclose int fd = make_memfd();
	struct error err = {0};

	assert_int_equal(memory_check_sealed(file, 64 * MIB, &err), -EPERM);
	assert_int_equal(memory_check_sealed(fd, MIB, &err), -EPERM);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(memory_check_sealed(fd, MIB, &err), -EPERM); /* it could be cut short */
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(memory_check_sealed(fd, MIB, &err), 0);
	assert_int_equal(memory_check_sealed(fd, 2 * MIB, &err), -EPERM);
	assert_int_equal(memory_check_sealed(-1, MIB, &err), -EBADF);
}

/* Zeros that were written, across the steps in which the file is read, become holes; what is beside
 * them stays. */
static void zero_pages_become_holes(void **state)
{
	autoclose int fd = make_memory();
	autoclose int before = -1;
	autofree char *zeros = calloc(1, 3 * MIB);
	struct error err = {0};
	uint64_t bytes = 0, full;

	assert_non_null(zeros);
	assert_int_equal(pwrite(fd, zeros, 3 * MIB, 10 * MIB + 5 * PAGE), 3 * MIB);
	assert_int_equal(pwrite(fd, "x", 1, 20 * MIB + PAGE - 1), 1); /* not all of it zero */
	assert_int_equal(pwrite(fd, "x", 1, 21 * MIB), 1);
	assert_int_equal(pwrite(fd, zeros, PAGE, 22 * MIB), PAGE);
	assert_int_equal(fsync(fd), 0);
	full = allocated(fd);
	before = memory_copy(fd, &err);
	assert_true(before >= 0);

	assert_int_equal(memory_dig(fd, &bytes, &err), 0);
	assert_int_equal(bytes, 3 * MIB + PAGE);
	assert_true(full - allocated(fd) >= 3 * MIB);
	assert_same_content(before, fd, 64 * MIB);
	assert_int_equal(memory_dig(fd, &bytes, &err), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(memory_dig(fd, NULL, &err), 0);
}

static void file_that_is_all_zero_or_all_data_or_empty_is_dug(void **state)
{
	autoclose int fd = file_open_temporary("/var/tmp");
	autofree char *data = calloc(1, 2 * MIB);
	struct error err = {0};
	uint64_t bytes = 1;

	assert_true(fd >= 0 && data);
	assert_int_equal(memory_dig(fd, &bytes, &err), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(pwrite(fd, data, 2 * MIB, 0), 2 * MIB);
	assert_int_equal(memory_dig(fd, &bytes, &err), 0);
	assert_int_equal(bytes, 2 * MIB);
	assert_int_equal(allocated(fd), 0);
	memset(data, 1, 2 * MIB);
	assert_int_equal(pwrite(fd, data, 2 * MIB, 0), 2 * MIB);
	assert_int_equal(memory_dig(fd, &bytes, &err), 0);
	assert_int_equal(bytes, 0);
}

static void file_that_cannot_be_written_is_not_dug(void **state)
{
	autoclose int fd = file_open_temporary("/var/tmp");
	autoclose int directory = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoclose int readonly = -1;
	static const char zeros[PAGE];
	struct error err = {0};
	char path[64];

	assert_int_equal(pwrite(fd, zeros, PAGE, 0), PAGE);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	readonly = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(readonly >= 0);
	assert_int_equal(memory_dig(readonly, NULL, &err), -EBADF);
	assert_int_equal(memory_dig(directory, NULL, &err), -EINVAL);
	assert_int_equal(memory_dig(-1, NULL, &err), -EBADF);
}

/* A copy that does not fit says so. */
static void copy_that_does_not_fit_is_an_error(void **state)
{
	autoclose int from = make_memory();
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit limit = {.rlim_cur = MIB, .rlim_max = MIB};
		struct error err = {0};

		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		_exit(memory_copy(from, &err) == -EFBIG && err.text[0] ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copy_is_the_same_and_takes_no_more_room),
		cmocka_unit_test(copy_of_what_is_no_file_is_refused),
		cmocka_unit_test(sealed_memory_can_be_mapped_by_all_and_changed_by_none),
		cmocka_unit_test(memory_is_not_sealed_while_somebody_writes_to_it),
		cmocka_unit_test(what_cannot_be_sealed_is_refused),
		cmocka_unit_test(memory_that_could_change_is_not_taken_for_sealed),
		cmocka_unit_test(zero_pages_become_holes),
		cmocka_unit_test(file_that_is_all_zero_or_all_data_or_empty_is_dug),
		cmocka_unit_test(file_that_cannot_be_written_is_not_dug),
		cmocka_unit_test(copy_that_does_not_fit_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
