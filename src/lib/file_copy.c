/* Copying files with their holes: disks are mostly holes, and must not grow by being copied. */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "lib/file.h"

/* One step of a copy: progress is shown this often. */
#define COPY_STEP (8 * 1024 * 1024)

int file_find_data(int fd, uint64_t from, uint64_t size, uint64_t *ret_start, uint64_t *ret_end)
{
	off_t start = lseek(fd, (off_t)from, SEEK_DATA);
	off_t end;

	*ret_start = from;
	*ret_end = size;
	if (start < 0 && errno == ENXIO) {
		*ret_start = size;
		return 0;
	}
	if (start < 0)
		return errno == EINVAL || errno == EOPNOTSUPP ? 0 : -errno;
	end = lseek(fd, start, SEEK_HOLE);
	if (end < 0)
		return errno == ENXIO ? -EIO : -errno;
	*ret_start = MIN_OF((uint64_t)start, size);
	*ret_end = MIN_OF((uint64_t)end, size);
	return 0;
}

/* The slow way, for file systems between which the kernel cannot copy. */
static ssize_t copy_through_memory(int from, int to, uint64_t at, size_t length)
{
	size_t room = MIN_OF(length, (size_t)(1024 * 1024)), done = 0;
	autofree char *block = malloc(room);
	ssize_t n;

	if (!block)
		return -ENOMEM;
	do
		n = pread(from, block, room, (off_t)at);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	while (done < (size_t)n) {
		ssize_t w = pwrite(to, block + done, (size_t)n - done, (off_t)(at + done));

		if (w < 0 && errno != EINTR)
			return -errno;
		done += w > 0 ? (size_t)w : 0;
	}
	return n;
}

/* Copies some of [at, at + length) and returns how much. */
static ssize_t copy_some(int from, int to, uint64_t at, size_t length)
{
	off_t in = (off_t)at, out = (off_t)at;
	ssize_t n = copy_file_range(from, &in, to, &out, length, 0);

	/* 0 is what some file systems answer that cannot do it at all. Errors of the disk come up
	 * again on the slow way, where they are told apart from "cannot". */
	return n > 0 ? n : copy_through_memory(from, to, at, length);
}

struct copy_job {
	int from, to;
	void (*progress)(uint64_t done, void *userdata);
	void *userdata;
};

static void copy_report(const struct copy_job *job, uint64_t done)
{
	if (job->progress)
		job->progress(done, job->userdata);
}

static int copy_pieces(const struct copy_job *job, uint64_t size)
{
	uint64_t at = 0, end = 0;

	while (at < size) {
		ssize_t n = 0;

		if (at == end) {
			int r = file_find_data(job->from, at, size, &at, &end);
			if (r < 0)
				return r;
		}
		if (at < end) {
			n = copy_some(job->from, job->to, at,
				(size_t)MIN_OF(end - at, (uint64_t)COPY_STEP));
			if (n < 0)
				return (int)n;
		}
		at += (uint64_t)n;
		copy_report(job, at);
	}
	return 0;
}

int file_copy(int from, int to, void (*progress)(uint64_t done, void *userdata), void *userdata)
{
	struct copy_job job = {.from = from, .to = to, .progress = progress, .userdata = userdata};
	struct stat st;

	if (fstat(from, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (ftruncate(to, 0) < 0)
		return -errno;
	if (ioctl(to, FICLONE, from) == 0) {
		copy_report(&job, (uint64_t)st.st_size);
		return 0;
	}
	/* The length first: what no piece of data reaches is then a hole. */
	if (ftruncate(to, st.st_size) < 0)
		return -errno;
	return copy_pieces(&job, (uint64_t)st.st_size);
}
