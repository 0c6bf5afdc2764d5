#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/record.h"
#include "lib/buffer.h"
#include "lib/timestamp.h"

struct record_reader {
	int fd;
	struct record_filter filter;
	struct buffer in;
	bool skipping; /* the rest of a line that is too long */
	bool ended;
	uint64_t damaged;
};

#define READ_SIZE 65536

int record_reader_open(const char *path, const struct record_filter *filter,
	struct record_reader **ret, struct error *err)
{
	struct record_reader *reader AUTO(record_reader_freep) = calloc(1, sizeof(*reader));
	struct stat st;

	if (!reader)
		return fail(err, -ENOMEM, "out of memory");
	reader->filter = *filter;
	reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (reader->fd < 0 || fstat(reader->fd, &st) < 0)
		return fail_errno(err, -errno, "cannot open the usage records '%s'", path);
	if (!S_ISREG(st.st_mode))
		return fail(err, -EINVAL, "the usage records '%s' are no file", path);
	*ret = TAKE_PTR(reader);
	return 0;
}

void record_reader_seek_tail(struct record_reader *reader, uint64_t bytes)
{
	off_t size = lseek(reader->fd, 0, SEEK_END);
	off_t from = size > 0 && (uint64_t)size > bytes ? size - (off_t)bytes : 0;

	/* The line that is cut there is skipped as one that is too long. */
	reader->skipping = lseek(reader->fd, from, SEEK_SET) > 0;
}

struct record_reader *record_reader_free(struct record_reader *reader)
{
	if (!reader)
		return NULL;
	base_close(reader->fd);
	buffer_done(&reader->in);
	free(reader);
	return NULL;
}

uint64_t record_reader_damaged(const struct record_reader *reader)
{
	return reader->damaged;
}

/* Is it a record at all? What later versions add does not matter. */
static bool record_is_valid(const json_t *json, uint64_t *ret_ended_us)
{
	const char *id = json_string_value(json_object_get(json, "id"));
	const char *ended = json_string_value(json_object_get(json, "ended"));

	return json_integer_value(json_object_get(json, "schema")) >= 1 && id && uuid_is_text(id) &&
	       ended && timestamp_parse(ended, ret_ended_us) == 0;
}

/* Returns the record if it is one that is wanted. */
static json_t *reader_take_line(struct record_reader *reader, const char *text, size_t length)
{
	json_t *json;
	uint64_t ended_us = 0;

	if (length == 0)
		return NULL;
	json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	if (!record_is_valid(json, &ended_us))
		reader->damaged++;
	else if (ended_us >= reader->filter.from_us && ended_us < reader->filter.until_us)
		return json;
	json_decref(json);
	return NULL;
}

/* Drops what has come of a line that is too long to be a record. */
static void reader_skip(struct record_reader *reader)
{
	reader->damaged += !reader->skipping;
	reader->skipping = true;
	buffer_consume(&reader->in, reader->in.len);
}

/* The next record of those that have been read from the file, or NULL. What has no end yet is no
 * line: its writer is at it, or did not live to end it. */
static json_t *reader_take(struct record_reader *reader)
{
	json_t *json = NULL;

	while (!json && reader->in.len > 0) {
		const char *head = (const char *)buffer_head(&reader->in);
		const char *end = memchr(head, '\n', reader->in.len);

		if (!end) {
			if (reader->in.len > RECORD_LINE_MAX)
				reader_skip(reader);
			break;
		}
		if (!reader->skipping)
			json = reader_take_line(reader, head, (size_t)(end - head));
		reader->skipping = false;
		buffer_consume(&reader->in, (size_t)(end - head) + 1);
	}
	return json;
}

int record_reader_next(struct record_reader *reader, json_t **ret, struct error *err)
{
	for (;;) {
		ssize_t n;

		*ret = reader_take(reader);
		if (*ret || reader->ended)
			return *ret ? 1 : 0;
		n = buffer_read(&reader->in, reader->fd, READ_SIZE);
		if (n < 0)
			return fail_errno(err, (int)n, "cannot read the usage records");
		reader->ended = n == 0;
	}
}
