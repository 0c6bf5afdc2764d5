#include "courier/delivery.h"

#include <errno.h>
#include <sys/stat.h>

#include "courier/batch.h"
#include "courier/cursor.h"
#include "courier/reason.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

/* Statuses that say that the records themselves are wrong, all or one of them. */
#define STATUS_BAD       400
#define STATUS_TOO_LONG  413
#define STATUS_SENSELESS 422

struct delivery {
	struct daemon *daemon;
	int cursor_fd, refused_fd;
	struct cursor cursor;
	int fd; /* of the file that the cursor is in; -1: not open */
};

int delivery_new(struct daemon *daemon, int cursor_fd, int refused_fd, struct delivery **ret,
	struct error *err)
{
	struct delivery *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		base_close(cursor_fd);
		base_close(refused_fd);
		return fail(err, -ENOMEM, "out of memory");
	}
	*d = (struct delivery){daemon, cursor_fd, refused_fd, {0}, -1};
	*ret = d;
	r = cursor_read(cursor_fd, &d->cursor);
	return r < 0 ? fail_errno(err, r, "cannot read how far records were delivered") : 0;
}

struct delivery *delivery_free(struct delivery *d)
{
	if (!d)
		return NULL;
	base_close(d->cursor_fd);
	base_close(d->refused_fd);
	base_close(d->fd);
	free(d);
	return NULL;
}

static int move_to(struct delivery *d, uint64_t file, uint64_t offset, struct error *err)
{
	const struct cursor next = {file, offset};
	int r;

	if (next.file == d->cursor.file && next.offset == d->cursor.offset)
		return 0;
	r = cursor_write(d->cursor_fd, &next);
	if (r < 0)
		return fail_errno(err, r, "cannot note how far records were delivered");
	d->cursor = next;
	return 0;
}

/* The first file from this number on. Returns 1, 0 if there is none, or negative errno. */
static int find_file(
	struct delivery *d, uint64_t from, int *ret_fd, uint64_t *ret_number, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	int r = daemon_ask(d->daemon,
		json_pack("{s:s, s:I, s:I}", "op", "records", "from", (json_int_t)from, "needed",
			(json_int_t)d->cursor.file),
		&answer, err);

	if (r < 0)
		return r;
	*ret_fd = daemon_answer_take(&answer, "records");
	*ret_number = (uint64_t)json_integer_value(json_object_get(answer.json, "file"));
	return *ret_fd >= 0;
}

/* The file that the cursor is in, or what has taken its place. */
static int open_file(struct delivery *d, struct error *err)
{
	uint64_t number = 0;
	struct stat st;
	int r = find_file(d, d->cursor.file, &d->fd, &number, err);

	if (r == 0 && d->cursor.file > 0)
		r = find_file(d, 0, &d->fd, &number, err);
	if (r <= 0)
		return r;
	if (fstat(d->fd, &st) < 0)
		return fail_errno(err, -errno, "cannot read the usage records");
	if (number != d->cursor.file || d->cursor.offset > (uint64_t)st.st_size)
		r = move_to(d, number, 0, err);
	return r < 0 ? r : 1;
}

static int note_refused(struct delivery *d, json_t *record, const char *why, struct error *err)
{
	json_t *json = json_pack("{s:o, s:O}", "reason", reason_to_json(why, "no reason is given"),
		"record", record);
	autofree char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	autofree char *line = text ? path_format("%s\n", text) : NULL;
	int r = line ? file_write_all(d->refused_fd, line, strlen(line)) : -ENOMEM;

	json_decref(json);
	if (r == 0 && fdatasync(d->refused_fd) < 0)
		r = -errno;
	log_warning("the site does not take a usage record: %s; it is kept in "
		    "records-refused.jsonl",
		why);
	return r < 0 ? fail_errno(err, r, "cannot keep a record that was refused") : 0;
}

static int64_t count_of(const json_t *answer, const char *key)
{
	const json_t *value = json_object_get(answer, key);

	return json_is_integer(value) ? json_integer_value(value) : -1;
}

/* Each record has to be accounted for. */
static bool answer_fits(const json_t *answer, size_t count)
{
	const json_t *refused = json_object_get(answer, "refused");
	int64_t stored = count_of(answer, "stored"), known = count_of(answer, "known");

	return stored >= 0 && known >= 0 && stored <= (int64_t)count && known <= (int64_t)count &&
	       json_array_size(refused) <= count &&
	       (size_t)stored + (size_t)known + json_array_size(refused) == count;
}

static int take_answer(struct delivery *d, json_t *records, json_t *answer, struct error *err)
{
	json_t *item;
	size_t i;
	int r = 0;

	if (!answer_fits(answer, json_array_size(records)))
		return fail(err, -EAGAIN, "a controller does not say what has become of records");
	json_array_foreach(json_object_get(answer, "refused"), i, item)
	{
		json_t *record = json_array_get(records, (size_t)count_of(item, "index"));
		const char *why = json_string_value(json_object_get(item, "error"));

		if (!record)
			return fail(
				err, -EAGAIN, "a controller refuses a record that there is not");
		r = r < 0 ? r : note_refused(d, record, why ? why : "", err);
	}
	return r;
}

static int send(struct delivery *d, struct site *site, json_t *records, struct error *err);

/* Something in it is wrong: the halves, until it is one record. */
static int send_halves(struct delivery *d, struct site *site, json_t *records, struct error *err)
{
	size_t count = json_array_size(records);
	json_t *halves[2] = {json_array(), json_array()}, *record;
	size_t i;
	int r;

	json_array_foreach(records, i, record) json_array_append(halves[i >= count / 2], record);
	r = send(d, site, halves[0], err);
	if (r == 0)
		r = send(d, site, halves[1], err);
	json_decref(halves[0]);
	json_decref(halves[1]);
	return r;
}

/* Returns 0 when all of them have been taken or refused for good. */
static int send(struct delivery *d, struct site *site, json_t *records, struct error *err)
{
	json_t *body = json_pack("{s:O}", "records", records), *answer = NULL;
	struct error why = {0};
	int r = site_call(site, "POST", "/v1/records", body, NULL, &answer, NULL, &why);

	json_decref(body);
	if (r == 200)
		r = take_answer(d, records, answer, err);
	else if (r != STATUS_BAD && r != STATUS_TOO_LONG && r != STATUS_SENSELESS)
		r = fail(err, r < 0 ? r : -EAGAIN, "records are not taken: %.900s", why.text);
	else if (json_array_size(records) > 1)
		r = send_halves(d, site, records, err);
	else
		r = note_refused(d, json_array_get(records, 0), why.text, err);
	json_decref(answer);
	return r;
}

/* To the next file, if there is one: then nobody writes to this one any more, and what is left of
 * it has been read once more. Returns as delivery_run(). */
static int go_on(struct delivery *d, struct error *err)
{
	struct batch rest AUTO(batch_done) = {0};
	autoclose int fd = -1;
	uint64_t number;
	int r = find_file(d, d->cursor.file + 1, &fd, &number, err);

	if (r <= 0)
		return r;
	r = batch_read(d->fd, d->cursor.offset, true, &rest, err);
	if (r < 0)
		return r;
	if (rest.end != d->cursor.offset) {
		r = json_array_size(rest.records) > 0 ? 0
						      : move_to(d, d->cursor.file, rest.end, err);
		return r < 0 ? r : 1;
	}
	r = move_to(d, number, 0, err);
	if (r < 0)
		return r;
	base_close(d->fd);
	d->fd = TAKE_FD(fd);
	return 1;
}

int delivery_run(struct delivery *d, struct site *site, struct error *err)
{
	struct batch b AUTO(batch_done) = {0};
	int r = d->fd < 0 ? open_file(d, err) : 1;

	if (r <= 0)
		return r;
	r = batch_read(d->fd, d->cursor.offset, false, &b, err);
	if (r < 0)
		return r;
	if (b.end == d->cursor.offset)
		return go_on(d, err);
	if (b.damaged > 0)
		log_warning("%llu lines of the usage records are no records",
			(unsigned long long)b.damaged);
	if (json_array_size(b.records) > 0)
		r = send(d, site, b.records, err);
	if (r == 0)
		r = move_to(d, d->cursor.file, b.end, err);
	return r < 0 ? r : 1;
}
