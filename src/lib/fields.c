#include "lib/fields.h"

#include <errno.h>
#include <stdio.h>

#include "lib/digest.h"
#include "lib/printable.h"
#include "lib/timestamp.h"
#include "lib/uuid.h"

static int parse_text(const struct field *row, json_t *value, char *ret, struct error *err)
{
	const char *text = json_string_value(value);
	size_t size = (size_t)row->max;

	if (!text || !text[0] || json_string_length(value) != strlen(text))
		return fail(err, -EINVAL, "'%s' is not a text", row->name);
	if (strlen(text) >= size)
		return fail(err, -EINVAL, "'%s' is longer than %zu bytes", row->name, size - 1);
	snprintf(ret, size, "%s", text);
	printable_make_line(ret, strlen(ret));
	return row->check && row->check(ret, err) < 0 ? fail_within(err, "'%s'", row->name) : 0;
}

static bool is_lines(const char *text)
{
	for (; *text; text++)
		if (((unsigned char)*text < ' ' && *text != '\n' && *text != '\t') || *text == 127)
			return false;
	return true;
}

static int parse_lines(const struct field *row, json_t *value, const char **ret, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text || json_string_length(value) != strlen(text) || !is_lines(text))
		return fail(err, -EINVAL, "'%s' is not a text of printable lines", row->name);
	if (row->max > 0 && strlen(text) > row->max)
		return fail(err, -EINVAL, "'%s' is longer than %llu bytes", row->name,
			(unsigned long long)row->max);
	if (row->check && row->check(text, err) < 0)
		return fail_within(err, "'%s'", row->name);
	*ret = text;
	return 0;
}

static int parse_digest(const struct field *row, json_t *value, char *ret, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text || !digest_is_hex(text))
		return fail(err, -EINVAL, "'%s' is not a SHA-256", row->name);
	memcpy(ret, text, DIGEST_HEX_SIZE);
	return 0;
}

static int parse_id(const struct field *row, json_t *value, char *ret, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text || !uuid_is_text(text))
		return fail(err, -EINVAL, "'%s' is not a UUID", row->name);
	memcpy(ret, text, UUID_TEXT_SIZE);
	return 0;
}

static int parse_object(const struct field *row, json_t *value, json_t **ret, struct error *err)
{
	if (!json_is_object(value))
		return fail(err, -EINVAL, "'%s' is not an object", row->name);
	*ret = value;
	return 0;
}

static int parse_list(const struct field *row, json_t *value, json_t **ret, struct error *err)
{
	if (!json_is_array(value))
		return fail(err, -EINVAL, "'%s' is not a list", row->name);
	if (row->max > 0 && json_array_size(value) > row->max)
		return fail(err, -EINVAL, "'%s' has more than %llu items", row->name,
			(unsigned long long)row->max);
	*ret = value;
	return 0;
}

static int parse_word(const struct field *row, json_t *value, char *ret, struct error *err)
{
	const char *text = json_string_value(value);
	size_t n = text ? strlen(text) : 0;

	for (const char *word = row->words; n > 0 && *word;) {
		size_t length = strcspn(word, "|");

		if (length == n && strncmp(word, text, n) == 0) {
			memcpy(ret, text, n + 1);
			return 0;
		}
		word += length + (word[length] == '|');
	}
	return fail(err, -EINVAL, "'%s' is not one of %s", row->name, row->words);
}

static int parse_number(const struct field *row, json_t *value, uint64_t *ret, struct error *err)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number < row->min ||
		(uint64_t)number > row->max)
		return fail(err, -EINVAL, "'%s' is not a number from %llu to %llu", row->name,
			(unsigned long long)row->min, (unsigned long long)row->max);
	*ret = (uint64_t)number;
	return 0;
}

static int parse_bool(const struct field *row, json_t *value, bool *ret, struct error *err)
{
	if (!json_is_boolean(value))
		return fail(err, -EINVAL, "'%s' is neither true nor false", row->name);
	*ret = json_is_true(value) != (row->type == FIELD_NOT);
	return 0;
}

static int parse_time(const struct field *row, json_t *value, uint64_t *ret, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text || timestamp_parse(text, ret) < 0)
		return fail(err, -EINVAL,
			"'%s' is not a time; write it as 2026-11-21T17:51:00Z, in UTC", row->name);
	return 0;
}

int field_parse(const struct field *row, json_t *value, void *ret, struct error *err)
{
	void *member = (char *)ret + row->offset;

	switch (row->type) {
	case FIELD_TEXT:
		return parse_text(row, value, member, err);
	case FIELD_DIGEST:
		return parse_digest(row, value, member, err);
	case FIELD_ID:
		return parse_id(row, value, member, err);
	case FIELD_WORD:
		return parse_word(row, value, member, err);
	case FIELD_NUMBER:
		return parse_number(row, value, member, err);
	case FIELD_BOOL:
	case FIELD_NOT:
		return parse_bool(row, value, member, err);
	case FIELD_TIME:
		return parse_time(row, value, member, err);
	case FIELD_OBJECT:
		return parse_object(row, value, member, err);
	case FIELD_LIST:
		return parse_list(row, value, member, err);
	case FIELD_LINES:
		return parse_lines(row, value, member, err);
	}
	return fail(err, -EINVAL, "'%s' has no type", row->name);
}

/* A text that need not be there may be "", which takes back what it was. */
static bool is_empty_text(const struct field *row, const json_t *value)
{
	return row->type == FIELD_TEXT && !row->required && json_is_string(value) &&
	       json_string_length(value) == 0;
}

int fields_parse(const struct field *table, json_t *object, void *ret, struct error *err)
{
	if (!json_is_object(object))
		return fail(err, -EINVAL, "not an object");
	for (const struct field *row = table; row->name; row++) {
		json_t *value = json_object_get(object, row->name);

		if (!value || json_is_null(value)) {
			if (row->required)
				return fail(err, -EINVAL, "'%s' is missing", row->name);
			continue;
		}
		if (!is_empty_text(row, value) && field_parse(row, value, ret, err) < 0)
			return -EINVAL;
		if (row->given > 0)
			*(bool *)((char *)ret + row->given) = true;
	}
	return 0;
}

static json_t *words_to_schema(const struct field *row)
{
	json_t *words = json_array();

	for (const char *word = row->words; words && *word;) {
		size_t length = strcspn(word, "|");

		json_array_append_new(words, json_stringn(word, length));
		word += length + (word[length] == '|');
	}
	if (words && !row->required)
		json_array_append_new(words, json_null());
	return json_pack("{s:s, s:o*}", "type", "string", "enum", words);
}

static json_t *field_to_schema(const struct field *row)
{
	json_int_t max = (json_int_t)MIN_OF(row->max, (uint64_t)INT64_MAX);

	switch (row->type) {
	case FIELD_TEXT:
		return json_pack("{s:s, s:i, s:I}", "type", "string", "minLength", row->required,
			"maxLength", max - 1);
	case FIELD_LINES:
		return max > 0 ? json_pack("{s:s, s:I}", "type", "string", "maxLength", max)
			       : json_pack("{s:s}", "type", "string");
	case FIELD_DIGEST:
		return json_pack("{s:s, s:s}", "type", "string", "pattern", "^[0-9a-f]{64}$");
	case FIELD_ID:
		return json_pack("{s:s, s:s}", "type", "string", "format", "uuid");
	case FIELD_WORD:
		return words_to_schema(row);
	case FIELD_NUMBER:
		return json_pack("{s:s, s:s, s:I, s:I}", "type", "integer", "format", "int64",
			"minimum", (json_int_t)row->min, "maximum", max);
	case FIELD_BOOL:
	case FIELD_NOT:
		return json_pack("{s:s}", "type", "boolean");
	case FIELD_TIME:
		return json_pack("{s:s, s:s}", "type", "string", "format", "date-time");
	case FIELD_OBJECT:
		return json_pack("{s:s}", "type", "object");
	case FIELD_LIST:
		return max > 0 ? json_pack("{s:s, s:{}, s:I}", "type", "array", "items", "maxItems",
					 max)
			       : json_pack("{s:s, s:{}}", "type", "array", "items");
	}
	return NULL;
}

json_t *fields_to_schema(const struct field *table)
{
	json_t *properties = json_object(), *required = json_array(), *schema = NULL;
	bool whole = properties && required;

	for (const struct field *row = table; whole && row->name; row++) {
		json_t *one = field_to_schema(row);

		if (one && row->help)
			json_object_set_new(one, "description", json_string(row->help));
		if (one && !row->required)
			json_object_set_new(one, "nullable", json_true());
		whole = json_object_set_new(properties, row->name, one) == 0;
		if (whole && row->required)
			whole = json_array_append_new(required, json_string(row->name)) == 0;
	}
	if (whole)
		schema = json_pack("{s:s, s:O}", "type", "object", "properties", properties);
	/* An empty list is none, in OpenAPI 3.0. */
	if (schema && json_array_size(required) > 0)
		json_object_set(schema, "required", required);
	json_decref(properties);
	json_decref(required);
	return schema;
}
