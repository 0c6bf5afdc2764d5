#include "vm/template.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/deadline.h"
#include "lib/file.h"
#include "vm/template_private.h"

#define TEMPLATE_MIB (UINT64_C(1) << 20)

/* Three numbers of twenty digits, so that each write replaces all of the one before. */
#define USAGE_FORMAT  "%020llu %020llu %020llu\n"
#define USAGE_BYTES   63
#define USAGE_DIGITS  20
#define USAGE_NUMBERS 3

/* Counting a use is not worth a wait; who keeps this lock for longer was stopped. */
#define USAGE_LOCK_MS 100

static void usage_load(int dir_fd, struct template_info *info)
{
	autoclose int fd = openat(
		dir_fd, TEMPLATE_USAGE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char text[USAGE_BYTES + 1] = "";
	uint64_t numbers[USAGE_NUMBERS];

	if (fd < 0 || pread(fd, text, USAGE_BYTES, 0) != USAGE_BYTES)
		return;
	for (size_t i = 0; i < USAGE_NUMBERS; i++) {
		char *field = text + i * (USAGE_DIGITS + 1);

		field[USAGE_DIGITS] = '\0';
		if (strspn(field, "0123456789") != USAGE_DIGITS)
			return;
		errno = 0;
		numbers[i] = strtoull(field, NULL, 10);
		if (errno || numbers[i] > INT64_MAX)
			return;
	}
	info->uses = numbers[0];
	info->last_used = numbers[1];
	info->last_start_us = numbers[2];
}

static int usage_lock(int fd)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t deadline = deadline_in_ms(USAGE_LOCK_MS);
	int r;

	while ((r = file_lock(fd, true, false)) == -EWOULDBLOCK && deadline_left_ms(deadline) > 0)
		nanosleep(&pause, NULL);
	return r;
}

int template_record_use(const struct template *t, uint64_t start_us)
{
	autoclose int fd = openat(t->lock_fd, TEMPLATE_USAGE,
		O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	struct template_info info = {0};
	char text[USAGE_BYTES + 1];
	int r = fd < 0 ? -errno : usage_lock(fd);
	ssize_t n;

	if (r < 0)
		return r;
	usage_load(t->lock_fd, &info);
	snprintf(text, sizeof(text), USAGE_FORMAT, (unsigned long long)info.uses + 1,
		(unsigned long long)time(NULL), (unsigned long long)start_us);
	n = pwrite(fd, text, USAGE_BYTES, 0);
	return n == USAGE_BYTES ? 0 : n < 0 ? -errno : -ENOSPC;
}

static int fail_damaged(struct error *err)
{
	if (err)
		err->code = -EBADMSG;
	return -EBADMSG;
}

/* That memory or descriptors are short now is no fault of the template. */
static int fail_open(struct error *err, int r, const char *name)
{
	fail_errno(err, r, "its file '%s' cannot be opened", name);
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EINTR)
		return r;
	return fail_damaged(err);
}

/* Opens a file of a template, whatever it may be. Returns the descriptor or negative errno. */
static int open_file(int dir_fd, const char *name, int flags, struct stat *ret, struct error *err)
{
	autoclose int fd =
		openat(dir_fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int r;

	if (fd < 0 || fstat(fd, ret) < 0)
		return fail_open(err, -errno, name);
	if (!S_ISREG(ret->st_mode))
		return fail(err, -EBADMSG, "its '%s' is not a file", name);
	r = file_set_nonblocking(fd, false);
	return r < 0 ? fail_open(err, r, name) : TAKE_FD(fd);
}

static int load_record(struct template *t, const char *key,
	struct template_stamp ret_stamps[TEMPLATE_FILES], struct error *err)
{
	char json[TEMPLATE_JSON_MAX + 1];
	struct stat st;
	autoclose int fd = open_file(t->lock_fd, TEMPLATE_JSON, O_RDONLY, &st, err);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = pread(fd, json, sizeof(json), 0);
	if (n < 0)
		return fail_open(err, -errno, TEMPLATE_JSON);
	if (template_record_parse(json, (size_t)n, &t->info, ret_stamps, err) < 0) {
		fail_within(err, "its " TEMPLATE_JSON);
		return fail_damaged(err);
	}
	if (!streq(t->info.key, key))
		return fail(err, -EBADMSG, "it is that of another key");
	return 0;
}

static int open_stamped(struct template *t, enum template_file file, int flags,
	const struct template_stamp *stamp, struct error *err)
{
	const char *name = template_file_names[file];
	struct template_stamp is;
	struct stat st;
	autoclose int fd = open_file(t->lock_fd, name, flags, &st, err);

	if (fd < 0)
		return fd;
	template_stamp_set(&is, &st);
	if (!streq(is.text, stamp->text))
		return fail(err, -EBADMSG, "its file '%s' was changed after it was made", name);
	if (file == TEMPLATE_MEMORY && (uint64_t)st.st_size != t->info.memory_mib * TEMPLATE_MIB)
		return fail(err, -EBADMSG, "its memory is not of %llu MiB",
			(unsigned long long)t->info.memory_mib);
	return TAKE_FD(fd);
}

static int open_files(struct template *t, bool own,
	const struct template_stamp stamps[TEMPLATE_FILES], struct error *err)
{
	/* QEMU 7.2 opens for writing even what it maps privately. */
	t->memory_fd = open_stamped(
		t, TEMPLATE_MEMORY, own ? O_RDWR : O_RDONLY, &stamps[TEMPLATE_MEMORY], err);
	if (t->memory_fd < 0)
		return t->memory_fd;
	t->state_fd = open_stamped(t, TEMPLATE_STATE, O_RDONLY, &stamps[TEMPLATE_STATE], err);
	if (t->state_fd < 0)
		return t->state_fd;
	t->overlay_fd = open_stamped(t, TEMPLATE_OVERLAY, O_RDONLY, &stamps[TEMPLATE_OVERLAY], err);
	return t->overlay_fd < 0 ? t->overlay_fd : 0;
}

static int load_template(struct template *t, const char *key, uid_t owner, struct error *err)
{
	struct template_stamp stamps[TEMPLATE_FILES];
	uint64_t now = (uint64_t)time(NULL);
	struct stat st;
	int r;

	if (fstat(t->lock_fd, &st) < 0 || st.st_uid != owner || (st.st_mode & 022))
		return fail(err, -EBADMSG, "others can write to it");
	r = load_record(t, key, stamps, err);
	if (r >= 0)
		r = open_files(t, owner == geteuid(), stamps, err);
	if (r < 0)
		return r;
	usage_load(t->lock_fd, &t->info);
	t->info.bytes = template_bytes(t->lock_fd);
	/* The clock may have been ahead when they were written. */
	t->info.created = MIN_OF(t->info.created, now);
	t->info.last_used = MIN_OF(t->info.last_used, now);
	return 0;
}

static int fail_lock(struct error *err, int r, const char *key)
{
	if (r == -ENOENT)
		return fail(err, r, "there is no template %.12s", key);
	if (r == -EWOULDBLOCK)
		return fail(err, -EBUSY, "the template %.12s is locked by another process", key);
	if (r == -ENOTDIR)
		return fail(err, -EBADMSG, "the template %.12s is damaged: not a directory", key);
	return fail_errno(err, r, "cannot open the template %.12s", key);
}

int template_open_at(
	int parent_fd, const char *key, uid_t owner, struct template **ret, struct error *err)
{
	struct template *t AUTO(template_closep) = malloc(sizeof(*t));
	int r;

	if (!t)
		return fail(err, -ENOMEM, "out of memory");
	*t = (struct template){.lock_fd = -1, .memory_fd = -1, .state_fd = -1, .overlay_fd = -1};
	if (!digest_is_hex(key))
		return fail(err, -EINVAL, "'%.100s' is not the key of a template", key);
	t->lock_fd = template_lock(parent_fd, key, false, TEMPLATE_LOCK_MS);
	if (t->lock_fd < 0)
		return fail_lock(err, t->lock_fd, key);
	r = load_template(t, key, owner, err);
	if (r == -EBADMSG)
		fail_within(err, "the template %.12s is damaged", key);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

int template_open(const char *directory, const char *key, struct template **ret, struct error *err)
{
	autoclose int parent_fd = template_directory_open(directory, false, err);

	return parent_fd < 0 ? parent_fd : template_open_at(parent_fd, key, geteuid(), ret, err);
}

struct template *template_close(struct template *t)
{
	if (!t)
		return NULL;
	base_close(t->memory_fd);
	base_close(t->state_fd);
	base_close(t->overlay_fd);
	base_close(t->lock_fd);
	free(t);
	return NULL;
}
