#include "vm/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/parse.h"
#include "lib/path.h"

/* Making an empty file system writes a few hundred KiB, whatever its size. */
#define SCRATCH_MAKE_MS 30000

/* No journal: the disk ends with the VM. Tables are zero already in a sparse file. */
int scratch_format(int fd, struct error *err)
{
	autofree char *search = path_search();
	autofree char *program = search ? path_find_program(search, "mke2fs") : NULL;
	char path[40];
	const char *argv[] = {program, "-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal",
		"-E", "lazy_itable_init=1,nodiscard,assume_storage_prezeroed=1", path, NULL};
	struct child_spec child = CHILD_SPEC_INIT;
	int r;

	if (!program)
		return fail(err, -ENOENT, "mke2fs was not found; install e2fsprogs");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	child.argv = argv;
	child.keep = &fd;
	child.keep_count = 1;
	r = child_run(&child, SCRATCH_MAKE_MS, err);
	return r < 0 ? fail_within(err, "cannot make the scratch disk") : 0;
}

int scratch_allocate(int fd, uint64_t bytes, struct error *err)
{
	char size[FORMAT_MAX];

	if (fallocate(fd, 0, 0, (off_t)bytes) == 0)
		return 0;
	if (errno == EOPNOTSUPP)
		return fail(err, -EOPNOTSUPP,
			"the file system cannot reserve room for a scratch disk; set [node] scratch = "
			"sparse");
	return fail_errno(
		err, -errno, "cannot reserve %s for a scratch disk", format_size(bytes, size));
}

bool scratch_is_volume(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISBLK(st.st_mode);
}

uint64_t scratch_size(int fd)
{
	uint64_t bytes = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	if (!S_ISBLK(st.st_mode))
		return (uint64_t)st.st_size;
	return ioctl(fd, BLKGETSIZE64, &bytes) < 0 ? 0 : bytes;
}

int scratch_open(const char *directory, uint64_t bytes, bool allocate, struct error *err)
{
	autoclose int fd = -1;
	char size[FORMAT_MAX];
	int r;

	if (bytes < SCRATCH_SIZE_MIN)
		return fail(err, -EINVAL, "a scratch disk needs at least %d MiB",
			SCRATCH_SIZE_MIN / (1024 * 1024));
	fd = file_open_temporary(directory);
	if (fd < 0)
		return fail_errno(err, fd, "cannot make a scratch disk in '%s'", directory);
	if (ftruncate(fd, (off_t)bytes) < 0)
		return fail_errno(err, -errno, "cannot make a scratch disk of %s in '%s'",
			format_size(bytes, size), directory);
	r = allocate ? scratch_allocate(fd, bytes, err) : 0;
	if (r == 0)
		r = scratch_format(fd, err);
	return r < 0 ? r : TAKE_FD(fd);
}
