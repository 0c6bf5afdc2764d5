#include "courier/batch.h"

#include <errno.h>
#include <sys/stat.h>

#include "engine/record.h"
#include "lib/uuid.h"

void batch_done(struct batch *b)
{
	json_decref(b->records);
	*b = (struct batch){0};
}

static bool is_record(const json_t *json)
{
	const char *id = json_string_value(json_object_get(json, "id"));

	return id && uuid_is_text(id);
}

static void add_line(struct batch *b, const char *line, size_t length)
{
	json_t *json = length > 0 ? json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (is_record(json)) {
		b->ends[json_array_size(b->records)] = b->end;
		json_array_append(b->records, json);
	} else {
		b->damaged += length > 0;
	}
	json_decref(json);
}

/* Returns how many bytes were whole lines. */
static size_t take_lines(struct batch *b, const char *text, size_t length)
{
	size_t used = 0;

	while (json_array_size(b->records) < BATCH_MAX) {
		const char *end = memchr(text + used, '\n', length - used);
		size_t n = end ? (size_t)(end - text) - used : 0;

		if (!end)
			break;
		b->end += n + 1;
		add_line(b, text + used, n);
		used += n + 1;
	}
	return used;
}

/* A rest that can never be a record is passed over; what follows of its line then is none either.
 */
static void pass_over(struct batch *b, size_t rest, bool closed, bool at_end)
{
	if (rest > RECORD_LINE_MAX || (closed && at_end && rest > 0)) {
		b->end += rest;
		b->damaged++;
	}
}

int batch_read(int fd, uint64_t offset, bool closed, struct batch *ret, struct error *err)
{
	autofree char *text = malloc(BATCH_BYTES);
	struct stat st;
	size_t used;
	ssize_t n;

	*ret = (struct batch){.records = json_array(), .end = offset};
	if (!text || !ret->records)
		return fail(err, -ENOMEM, "out of memory");
	n = pread(fd, text, BATCH_BYTES, (off_t)offset);
	if (n < 0 || fstat(fd, &st) < 0)
		return fail_errno(err, -errno, "cannot read the usage records");
	used = take_lines(ret, text, (size_t)n);
	if (json_array_size(ret->records) == 0)
		pass_over(
			ret, (size_t)n - used, closed, offset + (size_t)n >= (uint64_t)st.st_size);
	return 0;
}
