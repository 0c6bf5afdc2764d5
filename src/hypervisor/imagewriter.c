#include "hypervisor/imagewriter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/child.h"
#include "lib/deadline.h"
#include "lib/file.h"
#include "lib/path.h"

#define STEP_BYTES (1024 * 1024)

/* What a thin volume takes at once is not smaller. */
#define ZERO_BYTES (64 * 1024)

#define UNPACK_MS      (60 * 60 * 1000)
#define UNPACK_STEP_MS 500

static bool is_ending(const struct imagewriter *w)
{
	return __atomic_load_n(w->ending, __ATOMIC_RELAXED);
}

static bool is_zero(const uint8_t *data, size_t length)
{
	return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

static int write_piece(int to, const uint8_t *data, size_t length, uint64_t at)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = pwrite(to, data + done, length - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		done += (size_t)n;
	}
	return 0;
}

/* What is zero stays unwritten: it takes no room of the pool. */
static int write_block(int to, const uint8_t *data, size_t length, uint64_t at)
{
	int r = 0;

	for (size_t i = 0; i < length && r == 0; i += ZERO_BYTES) {
		size_t n = MIN_OF(length - i, (size_t)ZERO_BYTES);

		if (!is_zero(data + i, n))
			r = write_piece(to, data + i, n, at + i);
	}
	return r;
}

/* `from` is an open file of our own: its offset moves. */
static int copy_data(const struct imagewriter *w, int from, uint64_t size)
{
	autofree uint8_t *block = malloc(STEP_BYTES);
	uint64_t at = 0, end = 0;

	if (!block)
		return -ENOMEM;
	while (at < size) {
		ssize_t n;
		int r = at < end ? 0 : file_find_data(from, at, size, &at, &end);

		if (r < 0 || at >= size)
			return r;
		if (is_ending(w))
			return -ECANCELED;
		n = pread(from, block, (size_t)MIN_OF(end - at, (uint64_t)STEP_BYTES), (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		r = write_block(w->fd, block, (size_t)n, at);
		if (r < 0)
			return r;
		at += (uint64_t)n;
	}
	return 0;
}

/* Copies a raw disk of `size` bytes, whose digest is known, and reads it again from the disk. */
static int copy_raw(struct imagewriter *w, int from, uint64_t size, const char *digest)
{
	char found[DIGEST_HEX_SIZE] = "";
	int r = copy_data(w, from, size);

	if (r == 0 && fsync(w->fd) < 0)
		r = -errno;
	if (r < 0)
		return fail_errno(&w->err, r, "cannot write the image to a volume");
	posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
	r = digest_device(w->fd, size, found);
	if (r < 0)
		return fail_errno(&w->err, r, "cannot read the image on its volume");
	return streq(found, digest) ? 0
				    : fail(&w->err, -EBADMSG,
					      "what was written to a volume is not what is in the "
					      "image: one of the node's disks fails");
}

/* A file of the user without rights, so that it can be opened by /proc/self/fd. */
static int open_own_file(struct imagewriter *w, int *ret)
{
	autoclose int fd = file_open_temporary(w->directory);

	if (fd < 0 || fchown(fd, w->uid, w->gid) < 0)
		return fail_errno(&w->err, fd < 0 ? fd : -errno,
			"cannot make a file in '%s' to unpack the image", w->directory);
	*ret = TAKE_FD(fd);
	return 0;
}

static int wait_for(struct imagewriter *w, int pidfd)
{
	uint64_t deadline = deadline_in_ms(UNPACK_MS);
	int r;

	do
		r = child_wait(pidfd, UNPACK_STEP_MS);
	while (r == -ETIMEDOUT && !is_ending(w) && deadline_left_ms(deadline) > 0);
	if (r == -ETIMEDOUT)
		child_kill(pidfd);
	return r == 0 ? 0
		      : fail(&w->err, r < 0 ? r : -EIO,
				"qemu-img cannot unpack the image; the log of wnodes-hypervisor says "
				"why");
}

/* What reads tables that somebody else has made has no rights. No file that the header names is
 * opened. */
static int unpack(struct imagewriter *w, int from, int to)
{
	autofree char *source =
		path_format("json:{\"driver\":\"qcow2\",\"backing\":null,\"file\":"
			    "{\"driver\":\"file\",\"filename\":\"/proc/self/fd/%d\"}}",
			from);
	autofree char *target = path_format("/proc/self/fd/%d", to);
	const char *argv[] = {
		"qemu-img", "convert", "-q", "-n", "-O", "raw", "--", source, target, NULL};
	const int keep[] = {from, to};
	struct child_spec child = CHILD_SPEC_INIT;
	autoclose int pidfd = -1;
	int r;

	if (!source || !target)
		return fail(&w->err, -ENOMEM, "out of memory");
	child.argv = argv;
	child.keep = keep;
	child.keep_count = ARRAY_SIZE(keep);
	child.workdir = "/";
	child.no_new_privs = true;
	child.set_user = true;
	child.uid = w->uid;
	child.gid = w->gid;
	r = child_spawn(&child, NULL, &pidfd, &w->err);
	if (r == -ENOENT)
		return fail(&w->err, r, "qemu-img is not installed; apt-get install qemu-utils");
	return r < 0 ? r : wait_for(w, pidfd);
}

/* A private image's file is root's alone, so it is copied first. */
static int open_readable(struct imagewriter *w, int disk, int *ret)
{
	struct stat st;
	int r;

	if (fstat(disk, &st) < 0)
		return fail_errno(&w->err, -errno, "cannot look at the image");
	if (st.st_mode & S_IROTH) {
		*ret = fcntl(disk, F_DUPFD_CLOEXEC, 3);
		return *ret < 0 ? fail_errno(&w->err, -errno, "cannot open the image") : 0;
	}
	r = open_own_file(w, ret);
	if (r < 0)
		return r;
	r = file_copy(disk, *ret, NULL, NULL);
	return r < 0 ? fail_errno(&w->err, r, "cannot copy the image to unpack it") : 0;
}

static int copy_qcow2(struct imagewriter *w, int disk, const char *digest)
{
	autoclose int readable = -1, raw = -1;
	char found[DIGEST_HEX_SIZE];
	int r;

	if (w->uid == 0)
		return fail(&w->err, -EPERM,
			"the image is qcow2, and there is no account of [node] user to unpack it; make "
			"one, or use raw images");
	r = digest_file(disk, found);
	if (r < 0 || !streq(found, digest))
		return fail(&w->err, r < 0 ? r : -EBADMSG, "the image is damaged");
	r = open_readable(w, disk, &readable);
	if (r == 0)
		r = open_own_file(w, &raw);
	if (r == 0 && ftruncate(raw, (off_t)w->disk_bytes) < 0)
		r = fail_errno(&w->err, -errno, "cannot unpack the image");
	if (r == 0)
		r = unpack(w, readable, raw);
	if (r == 0 && digest_file(raw, found) < 0)
		r = fail(&w->err, -EIO, "cannot read the image that was unpacked");
	return r < 0 ? r : copy_raw(w, raw, w->disk_bytes, found);
}

static int write_image(struct imagewriter *w)
{
	struct image *image AUTO(image_freep) = NULL;
	const struct image_part *part;
	autoclose int disk = -1;
	int r = store_find(w->store, w->digest, &image, &w->err);

	if (r < 0)
		return r;
	part = manifest_part(image->manifest, IMAGE_DISK);
	w->disk_bytes = image->manifest->disk_size;
	if (w->fd < 0)
		return 0;
	if (!part)
		return fail(&w->err, -EBADMSG, "the image's manifest names no disk");
	r = disk = store_open_part(w->store, part, &w->err);
	if (r < 0)
		return r;
	return streq(image->manifest->format, "raw") ? copy_raw(w, disk, part->size, part->digest)
						     : copy_qcow2(w, disk, part->digest);
}

void imagewriter_work(struct worker_job *job)
{
	struct imagewriter *w = (struct imagewriter *)(void *)job;

	w->result = write_image(w);
}
