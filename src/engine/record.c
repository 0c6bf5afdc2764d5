#include "engine/record.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/buffer.h"
#include "lib/deadline.h"
#include "lib/file.h"
#include "lib/timestamp.h"

/* Of seconds: so that 0.1 is not written as 0.10000000000000001. */
#define REAL_DIGITS 15

/* How long other writers may take: each holds the lock for one write to the disk. */
#ifndef LOCK_TIMEOUT_MS /* a test has less */
#define LOCK_TIMEOUT_MS 10000
#endif
#define LOCK_PAUSE_MS 5

/* How often a file may be renamed away while we wait for it. */
#define ROTATIONS_MAX 100

/* What users chose, the name of a job for example, may be long and need not be UTF-8, and must not
 * keep the record from being written. */
static json_t *text_to_json(const char *text)
{
	char cut[RECORD_TEXT_MAX + 1];
	json_t *json;
	size_t length;

	if (!text)
		return json_null();
	length = strnlen(text, RECORD_TEXT_MAX);
	memcpy(cut, text, length);
	cut[length] = '\0';
	json = json_string(cut);
	if (json)
		return json;
	for (char *p = cut; *p; p++)
		*p = *p & 0x80 ? '?' : *p;
	return json_string(cut);
}

static json_t *number_to_json(uint64_t n)
{
	return n == RECORD_UNKNOWN ? json_null() : json_integer((json_int_t)n);
}

static json_t *seconds_to_json(uint64_t us)
{
	return us == RECORD_UNKNOWN ? json_null() : json_real((double)us / 1e6);
}

static json_t *time_to_json(uint64_t us)
{
	char text[TIMESTAMP_TEXT_SIZE];

	return us == 0 ? json_null() : json_string(timestamp_format(us, text));
}

static json_t *job_to_json(const struct record *r)
{
	if (!r->job.system)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "system",
		text_to_json(r->job.system), "id", text_to_json(r->job.id), "step",
		text_to_json(r->job.step), "name", text_to_json(r->job.name), "partition",
		text_to_json(r->job.partition), "account", text_to_json(r->job.account), "verified",
		r->job.verified);
}

static json_t *image_to_json(const struct record *r)
{
	return json_pack("{s:o, s:o, s:o}", "name", text_to_json(r->image_name), "tag",
		text_to_json(r->image_tag), "digest", text_to_json(r->image_digest));
}

static json_t *shape_to_json(const struct record *r)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "accel", text_to_json(r->accel), "cpus",
		number_to_json(r->cpus), "memory_bytes", number_to_json(r->memory_bytes),
		"scratch_bytes", number_to_json(r->scratch_bytes), "network",
		text_to_json(r->network));
}

static json_t *usage_to_json(const struct record *r)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "cpu_user_s",
		seconds_to_json(r->cpu_user_us), "cpu_system_s", seconds_to_json(r->cpu_system_us),
		"memory_peak_bytes", number_to_json(r->memory_peak_bytes), "guest_oom_kills",
		number_to_json(r->guest_oom_kills), "disk_read_bytes",
		number_to_json(r->disk_read_bytes), "disk_written_bytes",
		number_to_json(r->disk_written_bytes), "network_received_bytes",
		number_to_json(r->network_received_bytes), "network_sent_bytes",
		number_to_json(r->network_sent_bytes));
}

json_t *record_to_json(const struct record *r)
{
	return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, "
			 "s:o, s:o, s:o, s:o, s:o, s:o}",
		"schema", RECORD_VERSION, "id", text_to_json(r->id), "vm", text_to_json(r->vm),
		"node", text_to_json(r->node), "job", job_to_json(r), "user", text_to_json(r->user),
		"uid", (json_int_t)r->uid, "gid", (json_int_t)r->gid, "image", image_to_json(r),
		"policy", text_to_json(r->policy), "shape", shape_to_json(r), "start",
		text_to_json(r->start), "started", time_to_json(r->started_us), "ended",
		time_to_json(r->ended_us), "lent", time_to_json(r->lent_us), "phases",
		r->phases ? phase_to_json(r->phases) : json_array(), "exit_status",
		r->has_exit_status ? json_integer(r->exit_status) : json_null(), "reason",
		text_to_json(r->reason), "source", text_to_json(r->source), "usage",
		usage_to_json(r));
}

static int lock_within(int fd, uint64_t deadline)
{
	int r;

	while ((r = file_lock(fd, true, false)) == -EWOULDBLOCK) {
		if (deadline_left_ms(deadline) == 0)
			return -ETIMEDOUT;
		usleep(LOCK_PAUSE_MS * 1000);
	}
	return r;
}

/* Is what `path` names still the file that `fd` is? */
static bool file_is_at(int fd, const char *path)
{
	struct stat opened, named;

	return fstat(fd, &opened) == 0 && stat(path, &named) == 0 &&
	       opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* Opens and locks the file. Returns the descriptor or negative errno. */
static int open_locked(const char *path)
{
	uint64_t deadline = deadline_in_ms(LOCK_TIMEOUT_MS);

	for (int i = 0; i < ROTATIONS_MAX; i++) {
		autoclose int fd =
			open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
		int r = fd < 0 ? -errno : lock_within(fd, deadline);

		if (r < 0)
			return r;
		if (file_is_at(fd, path))
			return TAKE_FD(fd);
	}
	return -EBUSY;
}

/* Does the file end in the middle of a line, which its writer did not live to end? */
static int ends_torn(int fd, off_t size)
{
	char last;

	if (size == 0)
		return 0;
	if (pread(fd, &last, 1, size - 1) != 1)
		return errno ? -errno : -EIO;
	return last != '\n';
}

static int sync_directory(const char *path)
{
	autofree char *copy = strdup(path);
	autoclose int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (!copy)
		return -ENOMEM;
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* One write(2): other readers see all of the line or, if we die, a beginning of it. */
static int write_line(int fd, const char *text, size_t length)
{
	struct stat st;
	ssize_t n;
	int torn, r = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	torn = ends_torn(fd, st.st_size);
	if (torn < 0)
		return torn;
	text += !torn; /* it begins with a line feed, to end another's line */
	length -= !torn;
	do
		n = write(fd, text, length);
	while (n < 0 && errno == EINTR);
	if (n >= 0 && (size_t)n < length)
		r = -ENOSPC;
	else if (n < 0 || fdatasync(fd) < 0)
		r = -errno;
	/* A part of a line, or one of which nobody knows whether it stays, is taken back. */
	if (r < 0 && ftruncate(fd, st.st_size) < 0)
		return r;
	return r;
}

static int append_text(const char *path, const char *text, size_t length)
{
	autoclose int fd = open_locked(path);
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = write_line(fd, text, length);
	if (r == 0 && st.st_size == 0)
		r = sync_directory(path);
	return r;
}

/* One line, behind the others. Returns 0 or negative errno. */
static int add_line(struct buffer *lines, json_t *record, struct error *err)
{
	autofree char *line = json_dumps(
		record, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(REAL_DIGITS));
	size_t length = line ? strlen(line) : 0;

	if (!line)
		return fail(err, -ENOMEM, "out of memory");
	if (length + 2 > RECORD_LINE_MAX)
		return fail(err, -E2BIG, "a usage record has %zu bytes; %d are allowed", length + 2,
			RECORD_LINE_MAX);
	if (buffer_append(lines, line, length) < 0 || buffer_append(lines, "\n", 1) < 0)
		return fail(err, -ENOMEM, "out of memory");
	return 0;
}

int record_append_json(const char *path, json_t *const *records, size_t count, struct error *err)
{
	struct buffer lines AUTO(buffer_done) = {0};
	int r = buffer_append(&lines, "\n", 1) < 0 ? fail(err, -ENOMEM, "out of memory") : 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = add_line(&lines, records[i], err);
	if (r < 0)
		return r;
	r = append_text(path, (const char *)buffer_head(&lines), lines.len);
	return r < 0 ? fail_errno(err, r, "cannot write the usage record to '%s'", path) : 0;
}

int record_append(const char *path, const struct record *r, struct error *err)
{
	json_t *json = record_to_json(r);
	int ret = json ? record_append_json(path, &json, 1, err)
		       : fail(err, -ENOMEM, "out of memory");

	json_decref(json);
	return ret;
}
