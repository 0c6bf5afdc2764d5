#include "hypervisor/call.h"

#include <errno.h>
#include <stdio.h>

#include "lib/printable.h"

enum field_type {
	FIELD_TEXT,
	FIELD_DIGEST,
	FIELD_ID,
	FIELD_WORD,
	FIELD_NUMBER,
	FIELD_BOOL,
	FIELD_NOT,
	FIELD_OBJECT
};

#define BIT(op) (1u << (op))

static const char *const ops[CALL_OPS] = {
	[CALL_OPEN] = "open",
	[CALL_HOLD] = "hold",
	[CALL_TEMPLATE] = "template",
	[CALL_TEMPLATE_FAILED] = "template-failed",
	[CALL_USED] = "used",
	[CALL_WISH] = "wish",
	[CALL_STARTED] = "started",
	[CALL_FAILED] = "failed",
	[CALL_NODE] = "node",
	[CALL_DRAIN] = "drain",
	[CALL_RESUME] = "resume",
	[CALL_VM] = "vm",
	[CALL_RECORD] = "record",
};

#define MIB_MAX   (UINT64_C(64) << 20) /* 64 TiB */
#define BYTES_MAX (UINT64_C(1) << 50)
#define SHAPED    (BIT(CALL_OPEN) | BIT(CALL_HOLD) | BIT(CALL_WISH))
#define KEYED     (BIT(CALL_TEMPLATE) | BIT(CALL_TEMPLATE_FAILED) | BIT(CALL_USED))

/* One row a member. Members that no row knows are ignored, so that newer clients are served. */
static const struct {
	const char *name;
	enum field_type type;
	size_t offset;
	uint64_t min, max;  /* of numbers; of texts, max is the size with NUL */
	unsigned int needs; /* requests that must have it */
	const char *words;
} fields[] = {
	{"image", FIELD_TEXT, offsetof(struct call, image), 0, CALL_IMAGE_MAX,
		BIT(CALL_OPEN) | BIT(CALL_HOLD), NULL},
	{"digest", FIELD_DIGEST, offsetof(struct call, digest), 0, 0, BIT(CALL_HOLD), NULL},
	{"key", FIELD_DIGEST, offsetof(struct call, key), 0, 0, KEYED, NULL},
	{"reason", FIELD_TEXT, offsetof(struct call, reason), 0, CALL_REASON_MAX,
		BIT(CALL_FAILED) | BIT(CALL_DRAIN), NULL},
	{"accel", FIELD_WORD, offsetof(struct call, accel), 0, 0, BIT(CALL_WISH), "kvm|tcg"},
	{"network", FIELD_WORD, offsetof(struct call, network), 0, 0, BIT(CALL_WISH), "none|user"},
	{"cpus", FIELD_NUMBER, offsetof(struct call, cpus), 1, 4096, SHAPED, NULL},
	{"memory_mib", FIELD_NUMBER, offsetof(struct call, memory_mib), 1, MIB_MAX, SHAPED, NULL},
	{"scratch_bytes", FIELD_NUMBER, offsetof(struct call, scratch_bytes), 0, BYTES_MAX, 0,
		NULL},
	{"slots", FIELD_NUMBER, offsetof(struct call, slots), 0, VM_SHARES_MAX, 0, NULL},
	{"start_us", FIELD_NUMBER, offsetof(struct call, start_us), 0, INT64_MAX, 0, NULL},
	{"pid", FIELD_NUMBER, offsetof(struct call, pid), 1, INT32_MAX,
		BIT(CALL_HOLD) | BIT(CALL_VM), NULL},
	{"own", FIELD_BOOL, offsetof(struct call, own), 0, 0, 0, NULL},
	{"scratch", FIELD_BOOL, offsetof(struct call, scratch), 0, 0, 0, NULL},
	{"wait", FIELD_NOT, offsetof(struct call, no_wait), 0, 0, 0, NULL},
	{"record_id", FIELD_ID, offsetof(struct call, record_id), 0, 0, 0, NULL},
	{"record", FIELD_OBJECT, offsetof(struct call, record), 0, 0, BIT(CALL_RECORD), NULL},
};

static int parse_text(size_t i, json_t *value, char *ret, struct error *err)
{
	const char *text = json_string_value(value);
	size_t size = (size_t)fields[i].max;

	if (!text || !text[0] || json_string_length(value) != strlen(text))
		return fail(err, -EINVAL, "'%s' is not a text", fields[i].name);
	if (strlen(text) >= size)
		return fail(
			err, -EINVAL, "'%s' is longer than %zu bytes", fields[i].name, size - 1);
	snprintf(ret, size, "%s", text);
	printable_make_line(ret, strlen(ret));
	return 0;
}

static int parse_digest(size_t i, json_t *value, char *ret, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text || !digest_is_hex(text))
		return fail(err, -EINVAL, "'%s' is not a SHA-256", fields[i].name);
	memcpy(ret, text, DIGEST_HEX_SIZE);
	return 0;
}

static int parse_id(size_t i, json_t *value, char *ret, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text || !uuid_is_text(text))
		return fail(err, -EINVAL, "'%s' is not a UUID", fields[i].name);
	memcpy(ret, text, UUID_TEXT_SIZE);
	return 0;
}

static int parse_object(size_t i, json_t *value, json_t **ret, struct error *err)
{
	if (!json_is_object(value))
		return fail(err, -EINVAL, "'%s' is not an object", fields[i].name);
	*ret = value;
	return 0;
}

static int parse_word(size_t i, json_t *value, char *ret, struct error *err)
{
	const char *text = json_string_value(value);
	size_t n = text ? strlen(text) : 0;

	for (const char *word = fields[i].words; n > 0 && *word;) {
		size_t length = strcspn(word, "|");

		if (length == n && strncmp(word, text, n) == 0) {
			memcpy(ret, text, n + 1);
			return 0;
		}
		word += length + (word[length] == '|');
	}
	return fail(err, -EINVAL, "'%s' is not one of %s", fields[i].name, fields[i].words);
}

static int parse_number(size_t i, json_t *value, uint64_t *ret, struct error *err)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number < fields[i].min ||
		(uint64_t)number > fields[i].max)
		return fail(err, -EINVAL, "'%s' is not a number from %llu to %llu", fields[i].name,
			(unsigned long long)fields[i].min, (unsigned long long)fields[i].max);
	*ret = (uint64_t)number;
	return 0;
}

static int parse_bool(size_t i, json_t *value, bool *ret, struct error *err)
{
	if (!json_is_boolean(value))
		return fail(err, -EINVAL, "'%s' is neither true nor false", fields[i].name);
	*ret = json_is_true(value) != (fields[i].type == FIELD_NOT);
	return 0;
}

static int parse_field(size_t i, json_t *value, struct call *ret, struct error *err)
{
	void *member = (char *)ret + fields[i].offset;

	switch (fields[i].type) {
	case FIELD_TEXT:
		return parse_text(i, value, member, err);
	case FIELD_DIGEST:
		return parse_digest(i, value, member, err);
	case FIELD_ID:
		return parse_id(i, value, member, err);
	case FIELD_OBJECT:
		return parse_object(i, value, member, err);
	case FIELD_WORD:
		return parse_word(i, value, member, err);
	case FIELD_NUMBER:
		return parse_number(i, value, member, err);
	case FIELD_BOOL:
	case FIELD_NOT:
		return parse_bool(i, value, member, err);
	}
	return -EINVAL;
}

static int parse_op(json_t *json, enum call_op *ret, struct error *err)
{
	const char *op = json_string_value(json_object_get(json, "op"));

	for (size_t i = 0; op && i < CALL_OPS; i++)
		if (streq(ops[i], op)) {
			*ret = (enum call_op)i;
			return 0;
		}
	return fail(err, -EINVAL, "no such operation");
}

int call_parse(json_t *json, struct call *ret, struct error *err)
{
	int r;

	*ret = (struct call){0};
	r = parse_op(json, &ret->op, err);
	for (size_t i = 0; i < ARRAY_SIZE(fields) && r == 0; i++) {
		json_t *value = json_object_get(json, fields[i].name);

		if (value)
			r = parse_field(i, value, ret, err);
		else if (fields[i].needs & BIT(ret->op))
			r = fail(err, -EINVAL, "'%s' is missing", fields[i].name);
	}
	if (r == 0 && ret->op == CALL_OPEN && ret->own && !ret->digest[0])
		r = fail(err, -EINVAL, "'digest' is missing");
	return r;
}
