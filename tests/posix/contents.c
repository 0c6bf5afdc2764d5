/* Contents: what read, write, mmap and their like promise. */
#include <sys/mman.h>
#include <sys/wait.h>

#include "posix.h"

#define FOUR_GIB ((off_t)4 << 30)

static int large_file(void)
{
	int fd = make("a", "");
	struct stat s;

	if (fd < 0)
		return -1;
	if (pwrite(fd, "end", 3, FOUR_GIB + 5) != 3)
		return broken("write beyond 4 GiB");
	if (fstat(fd, &s) < 0 || s.st_size != FOUR_GIB + 8)
		return broken("its size is %lld", (long long)s.st_size);
	close(fd);
	fd = open("a", O_RDONLY);
	return reads(fd, FOUR_GIB + 5, "end");
}

static int holes_are_zeros(void)
{
	char block[4096], zeros[4096] = {0};
	int fd = make("a", "");

	if (fd < 0 || pwrite(fd, "x", 1, 1 << 20) != 1 ||
		pread(fd, block, sizeof(block), 65536) != sizeof(block))
		return broken("sparse file");
	errno = 0;
	return memcmp(block, zeros, sizeof(block)) == 0 ? 0 : broken("a hole is not zeros");
}

static int truncation(void)
{
	int fd = make("a", "0123456789");
	char text[16] = "";

	if (fd < 0 || ftruncate(fd, 4) < 0 || ftruncate(fd, 8) < 0)
		return broken("ftruncate");
	if (pread(fd, text, sizeof(text), 0) != 8 || memcmp(text, "0123\0\0\0\0", 8) != 0)
		return broken("what was cut off is back");
	return 0;
}

static int allocation(void)
{
	int fd = make("a", "");
	struct stat s;

	if (fd < 0)
		return -1;
	if (fallocate(fd, 0, 0, 1 << 20) < 0) {
		broken("fallocate");
		return errno == EOPNOTSUPP ? SKIPPED : -1;
	}
	return fstat(fd, &s) == 0 && s.st_size == 1 << 20
		       ? 0
		       : broken("its size is %lld", (long long)s.st_size);
}

static int punched_hole(void)
{
	char block[65536];
	int fd = make("a", "");

	memset(block, 'x', sizeof(block));
	if (fd < 0 || write(fd, block, sizeof(block)) != sizeof(block))
		return broken("write");
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096) < 0) {
		broken("punch a hole");
		return errno == EOPNOTSUPP ? SKIPPED : -1;
	}
	if (pread(fd, block, 4096, 4096) != 4096 || block[0] != 0)
		return broken("no hole is there");
	return 0;
}

/* Two who append do not overwrite each other. */
static int append_many(void *name)
{
	int fd = open("log", O_WRONLY | O_APPEND);

	for (int i = 0; i < 200; i++)
		if (fd < 0 || write(fd, name, 16) != 16)
			return 1;
	return 0;
}

static int appends_are_whole(void)
{
	static char a[] = "aaaaaaaaaaaaaaa\n", b[] = "bbbbbbbbbbbbbbb\n";
	struct stat s;
	int status;
	pid_t pid;

	if (make("log", "") < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		_exit(append_many(a));
	if (append_many(b) != 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		return broken("append");
	errno = 0;
	if (stat("log", &s) < 0 || s.st_size != 400 * 16)
		return broken("of 400 lines %lld are there", (long long)s.st_size / 16);
	return 0;
}

static int shared_mapping(void)
{
	int fd = make("a", "0123456789");
	char *map;

	if (fd < 0)
		return -1;
	map = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return broken("mmap");
	memcpy(map, "mapped", 6);
	if (msync(map, 10, MS_SYNC) < 0)
		return broken("msync");
	if (reads(fd, 0, "mapped6789") < 0)
		return -1;
	if (pwrite(fd, "write", 5, 0) != 5)
		return broken("write");
	errno = 0;
	return memcmp(map, "writed6789", 10) == 0 ? 0 : broken("the mapping does not see a write");
}

static int see_mapping(void *unused)
{
	int fd = open("a", O_RDONLY);
	const char *map = mmap(NULL, 4, PROT_READ, MAP_SHARED, fd, 0);

	return map != MAP_FAILED && memcmp(map, "M---", 4) == 0 ? 0 : 1;
}

static int mappings_of_two_processes(void)
{
	int fd = make("a", "----");
	char *map = fd < 0 ? MAP_FAILED : mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return broken("mmap");
	map[0] = 'M';
	return child_says(see_mapping, NULL) == 0 ? 0 : broken("another process does not see it");
}

static int private_mapping(void)
{
	int fd = make("a", "0123");
	char *map = fd < 0 ? MAP_FAILED : mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	if (map == MAP_FAILED)
		return broken("mmap");
	map[0] = 'x';
	return reads(fd, 0, "0123");
}

static int run_script(void *unused)
{
	execl("./script", "./script", NULL);
	return 1;
}

static int program_runs(void)
{
	int fd = make("script", "#!/bin/sh\nexit 42\n");

	if (fd < 0 || fchmod(fd, 0755) < 0)
		return broken("chmod");
	close(fd);
	errno = 0;
	return child_says(run_script, NULL) == 42 ? 0 : broken("it does not run");
}

static int direct_io(void)
{
	int fd = open("a", O_RDWR | O_CREAT | O_DIRECT, 0644);
	void *block;

	if (fd < 0) {
		broken("O_DIRECT");
		return errno == EINVAL ? SKIPPED : -1;
	}
	if (posix_memalign(&block, 4096, 4096) != 0)
		return broken("memory");
	memset(block, 'd', 4096);
	return pwrite(fd, block, 4096, 0) == 4096 && pread(fd, block, 4096, 0) == 4096
		       ? 0
		       : broken("direct");
}

static int copy_range(void)
{
	int from = make("a", "0123456789"), to = make("b", "");
	off_t start = 2;

	if (from < 0 || to < 0)
		return -1;
	if (copy_file_range(from, &start, to, NULL, 5, 0) != 5) {
		broken("copy_file_range");
		return errno == EOPNOTSUPP || errno == EXDEV ? SKIPPED : -1;
	}
	return reads(to, 0, "23456");
}

/* A file without a name is one all the same for who has it open: temporary files are made so. */
static int removed_file(void)
{
	int fd = make("a", "0123456789");

	if (fd < 0)
		return -1;
	if (unlink("a") < 0)
		return broken("unlink");
	if (pwrite(fd, "AB", 2, 0) != 2 || reads(fd, 0, "AB23456789") < 0)
		return broken("it is not written and read");
	if (ftruncate(fd, 4) < 0)
		return broken("ftruncate");
	return reads(fd, 0, "AB23");
}

static int sync_to_disk(void)
{
	int fd = make("a", "x");

	return fd >= 0 && fsync(fd) == 0 && fdatasync(fd) == 0 ? 0 : broken("fsync");
}

const struct expectation contents[] = {
	{"large_file", large_file},
	{"holes_are_zeros", holes_are_zeros},
	{"truncation", truncation},
	{"allocation", allocation},
	{"punched_hole", punched_hole},
	{"appends_are_whole", appends_are_whole},
	{"shared_mapping", shared_mapping},
	{"mappings_of_two_processes", mappings_of_two_processes},
	{"private_mapping", private_mapping},
	{"program_runs", program_runs},
	{"direct_io", direct_io},
	{"copy_range", copy_range},
	{"removed_file", removed_file},
	{"sync_to_disk", sync_to_disk},
	{NULL, NULL},
};
