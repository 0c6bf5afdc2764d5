#include "vm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/file.h"

#define MEMORY_PAGE  4096
#define MEMORY_STEP  (256 * 1024) /* fits a processor's cache */
#define MEMORY_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int memory_stat(int fd, struct stat *ret, struct error *err)
{
	if (fstat(fd, ret) < 0)
		return fail_errno(err, -errno, "cannot look at the guest's memory");
	if (!S_ISREG(ret->st_mode))
		return fail(err, -EINVAL, "the guest's memory is not a regular file");
	return 0;
}

/* Reads all of [at, at + length). */
static int read_step(int fd, char *step, size_t length, uint64_t at)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = pread(fd, step + done, length - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

typedef int (*memory_fn)(const char *data, size_t length, uint64_t at, void *userdata);

/* Calls `each` for all data of a file of `size` bytes, in steps of whole pages. Returns 0 or
 * negative errno. */
static int memory_walk(int fd, uint64_t size, memory_fn each, void *userdata)
{
	autofree char *step = malloc(MEMORY_STEP);
	uint64_t at = 0, end = 0;

	if (!step)
		return -ENOMEM;
	for (;;) {
		int r = at == end ? file_find_data(fd, at, size, &at, &end) : 0;
		size_t length = (size_t)MIN_OF(end - at, (uint64_t)MEMORY_STEP);

		if (r < 0 || at >= size)
			return r;
		r = read_step(fd, step, length, at);
		if (r >= 0)
			r = each(step, length, at, userdata);
		if (r < 0)
			return r;
		at += length;
	}
}

static int copy_step(const char *data, size_t length, uint64_t at, void *userdata)
{
	const int *to_fd = userdata;

	for (size_t done = 0; done < length;) {
		ssize_t n = pwrite(*to_fd, data + done, length - done, (off_t)(at + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int memory_copy(int from_fd, struct error *err)
{
	autoclose int fd = -1;
	struct stat st;
	int r = memory_stat(from_fd, &st, err);

	if (r < 0)
		return r;
	fd = memfd_create("wnodes-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return fail_errno(err, -errno, "cannot make a file in memory");
	r = ftruncate(fd, st.st_size) < 0 ? -errno : 0;
	if (r >= 0)
		r = memory_walk(from_fd, (uint64_t)st.st_size, copy_step, &fd);
	return r < 0 ? fail_errno(err, r, "cannot copy the guest's memory") : TAKE_FD(fd);
}

int memory_seal(int memfd, struct error *err)
{
	/* In this order: nobody else can open it as long as it can be changed. */
	if (fcntl(memfd, F_ADD_SEALS, MEMORY_SEALS) < 0)
		return fail_errno(err, -errno, "cannot seal the guest's memory");
	if (fchmod(memfd, 0666) < 0)
		return fail_errno(err, -errno, "cannot give others access to the guest's memory");
	return 0;
}

int memory_check_sealed(int fd, uint64_t bytes, struct error *err)
{
	const int needed = F_SEAL_SHRINK | F_SEAL_WRITE;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	int r;

	if (seals < 0 && errno != EINVAL)
		return fail_errno(err, -errno, "cannot look at the guest's memory");
	if (seals < 0 || (seals & needed) != needed)
		return fail(err, -EPERM, "the guest's memory is not sealed: it could be changed");
	r = memory_stat(fd, &st, err);
	if (r < 0)
		return r;
	if ((uint64_t)st.st_size != bytes)
		return fail(err, -EPERM, "the guest's memory has %llu bytes instead of %llu",
			(unsigned long long)st.st_size, (unsigned long long)bytes);
	return 0;
}

/* A run of zero pages that may go on: [start, end). */
struct digger {
	int fd;
	uint64_t start, end, bytes;
};

static int digger_flush(struct digger *d)
{
	uint64_t length = d->end - d->start;

	if (length == 0)
		return 0;
	if (fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)d->start,
		    (off_t)length) < 0)
		return -errno;
	d->bytes += length;
	d->start = d->end;
	return 0;
}

static bool is_zero(const char *data, size_t length)
{
	/* Each byte is the same as the one before it, and the first is 0. */
	return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

static int digger_page(struct digger *d, const char *page, size_t length, uint64_t at)
{
	int r = 0;

	if (!is_zero(page, length))
		return 0;
	if (at != d->end) {
		r = digger_flush(d);
		d->start = at;
	}
	d->end = at + length;
	return r;
}

static int dig_step(const char *data, size_t length, uint64_t at, void *userdata)
{
	int r = 0;

	for (size_t i = 0; i < length && r >= 0; i += MEMORY_PAGE)
		r = digger_page(
			userdata, data + i, MIN_OF(length - i, (size_t)MEMORY_PAGE), at + i);
	return r;
}

int memory_dig(int fd, uint64_t *ret_bytes, struct error *err)
{
	struct digger d = {.fd = fd};
	struct stat st;
	int r = memory_stat(fd, &st, err);

	if (r < 0)
		return r;
	r = memory_walk(fd, (uint64_t)st.st_size, dig_step, &d);
	if (r >= 0)
		r = digger_flush(&d);
	if (r < 0 && r != -EOPNOTSUPP)
		return fail_errno(err, r, "cannot make holes in the guest's memory");
	if (ret_bytes)
		*ret_bytes = d.bytes;
	return 0;
}
