#include <errno.h>

#include "engine/record.h"
#include "lib/timestamp.h"

#define SECONDS_MAX 1e12

/* A whole record as text, which is half as long as a line may be: who adds to it has room. */
#define CHECKED_MAX (RECORD_LINE_MAX / 2)

enum kind { KIND_ID, KIND_TEXT, KIND_TIME, KIND_NUMBER, KIND_SECONDS, KIND_BOOL };

/* One row a key, in the order of a record; `object` is the member that it stands in. */
static const struct row {
	const char *object, *key;
	enum kind kind;
	json_int_t max; /* of numbers; 0: any */
} rows[] = {
	{NULL, "id", KIND_ID, 0},
	{NULL, "vm", KIND_TEXT, 0},
	{NULL, "node", KIND_TEXT, 0},
	{"job", "system", KIND_TEXT, 0},
	{"job", "id", KIND_TEXT, 0},
	{"job", "step", KIND_TEXT, 0},
	{"job", "name", KIND_TEXT, 0},
	{"job", "partition", KIND_TEXT, 0},
	{"job", "account", KIND_TEXT, 0},
	{"job", "verified", KIND_BOOL, 0},
	{NULL, "user", KIND_TEXT, 0},
	{NULL, "uid", KIND_NUMBER, UINT32_MAX},
	{NULL, "gid", KIND_NUMBER, UINT32_MAX},
	{"image", "name", KIND_TEXT, 0},
	{"image", "tag", KIND_TEXT, 0},
	{"image", "digest", KIND_TEXT, 0},
	{NULL, "policy", KIND_TEXT, 0},
	{"shape", "accel", KIND_TEXT, 0},
	{"shape", "cpus", KIND_NUMBER, 0},
	{"shape", "memory_bytes", KIND_NUMBER, 0},
	{"shape", "scratch_bytes", KIND_NUMBER, 0},
	{"shape", "network", KIND_TEXT, 0},
	{NULL, "start", KIND_TEXT, 0},
	{NULL, "started", KIND_TIME, 0},
	{NULL, "ended", KIND_TIME, 0},
	{NULL, "lent", KIND_TIME, 0},
	{NULL, "exit_status", KIND_NUMBER, 255},
	{NULL, "reason", KIND_TEXT, 0},
	{NULL, "source", KIND_TEXT, 0},
	{"usage", "cpu_user_s", KIND_SECONDS, 0},
	{"usage", "cpu_system_s", KIND_SECONDS, 0},
	{"usage", "memory_peak_bytes", KIND_NUMBER, 0},
	{"usage", "guest_oom_kills", KIND_NUMBER, 0},
	{"usage", "disk_read_bytes", KIND_NUMBER, 0},
	{"usage", "disk_written_bytes", KIND_NUMBER, 0},
	{"usage", "network_received_bytes", KIND_NUMBER, 0},
	{"usage", "network_sent_bytes", KIND_NUMBER, 0},
};

static bool is_text(const json_t *value)
{
	size_t length = json_string_length(value);

	/* Without NUL inside: what is compared is what is kept. */
	return json_is_string(value) && length <= RECORD_TEXT_MAX &&
	       strlen(json_string_value(value)) == length;
}

static bool is_seconds(const json_t *value)
{
	return json_is_number(value) && json_number_value(value) >= 0 &&
	       json_number_value(value) <= SECONDS_MAX;
}

static bool is_time(const json_t *value)
{
	uint64_t us;

	return is_text(value) && timestamp_parse(json_string_value(value), &us) == 0;
}

static bool is_value(const struct row *row, const json_t *value)
{
	switch (row->kind) {
	case KIND_ID:
		return is_text(value) && uuid_is_text(json_string_value(value));
	case KIND_TEXT:
		return is_text(value);
	case KIND_TIME:
		return is_time(value);
	case KIND_NUMBER:
		return json_is_integer(value) && json_integer_value(value) >= 0 &&
		       (row->max == 0 || json_integer_value(value) <= row->max);
	case KIND_SECONDS:
		return is_seconds(value);
	case KIND_BOOL:
		return json_is_boolean(value);
	}
	return false;
}

static bool is_phase_name(const char *name)
{
	for (int i = 0; name && i < PHASE_COUNT; i++)
		if (streq(phase_name((enum phase)i), name))
			return true;
	return false;
}

/* Returns the list with nothing but what it must have, or NULL. */
static json_t *check_phases(const json_t *told)
{
	json_t *list = json_array(), *phase;
	size_t i;

	if (!told || json_is_null(told))
		return list;
	if (!json_is_array(told) || json_array_size(told) > PHASE_COUNT)
		goto wrong;
	json_array_foreach(told, i, phase)
	{
		const json_t *name = json_object_get(phase, "phase"),
			     *start = json_object_get(phase, "start_s"),
			     *duration = json_object_get(phase, "duration_s");

		if (!is_phase_name(json_string_value(name)) || !is_seconds(start) ||
			!is_seconds(duration))
			goto wrong;
		json_array_append_new(
			list, json_pack("{s:s, s:f, s:f}", "phase", json_string_value(name),
				      "start_s", json_number_value(start), "duration_s",
				      json_number_value(duration)));
	}
	return list;
wrong:
	json_decref(list);
	return NULL;
}

/* The object that the row's key is to stand in, made if need be. */
static json_t *target(json_t *record, const struct row *row)
{
	json_t *object = row->object ? json_object_get(record, row->object) : record;

	if (object)
		return object;
	object = json_object();
	json_object_set_new(record, row->object, object);
	return object;
}

static int check_row(const struct row *row, const json_t *told, json_t *record, struct error *err)
{
	const json_t *from = row->object ? json_object_get(told, row->object) : told;
	json_t *value = json_object_get(from, row->key), *copy;

	if (!value || json_is_null(value))
		copy = row->kind == KIND_BOOL ? json_false() : json_null();
	else if (is_value(row, value))
		copy = json_copy(value);
	else
		return fail(err, -EINVAL, "'%s%s%s' of the usage record is wrong",
			row->object ? row->object : "", row->object ? "." : "", row->key);
	return json_object_set_new(target(record, row), row->key, copy) < 0
		       ? fail(err, -ENOMEM, "out of memory")
		       : 0;
}

static int check_rows(const json_t *told, json_t *record, struct error *err)
{
	json_t *phases;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++) {
		if (streq(rows[i].key, "exit_status")) {
			phases = check_phases(json_object_get(told, "phases"));
			if (!phases)
				return fail(err, -EINVAL, "'phases' of the usage record is wrong");
			json_object_set_new(record, "phases", phases);
		}
		r = check_row(&rows[i], told, record, err);
	}
	return r;
}

static bool is_short(const json_t *record)
{
	autofree char *text = json_dumps(record, JSON_COMPACT | JSON_ENSURE_ASCII);

	return text && strlen(text) <= CHECKED_MAX;
}

json_t *record_check(const json_t *told, struct error *err)
{
	json_t *record = json_pack("{s:i}", "schema", RECORD_VERSION);
	int r = record ? 0 : fail(err, -ENOMEM, "out of memory");

	if (r == 0 && !json_is_object(told))
		r = fail(err, -EINVAL, "a usage record is an object");
	if (r == 0)
		r = check_rows(told, record, err);
	if (r == 0 && !is_short(record))
		r = fail(err, -E2BIG, "the usage record has more than %d bytes", CHECKED_MAX);
	if (r < 0) {
		json_decref(record);
		return NULL;
	}
	if (json_is_null(json_object_get(json_object_get(record, "job"), "system")))
		json_object_set_new(record, "job", json_null());
	return record;
}
