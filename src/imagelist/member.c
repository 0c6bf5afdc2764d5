#include "imagelist/member.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "lib/parse.h"
#include "lib/printable.h"
#include "lib/timestamp.h"

/* Digits of a real number that a list may have for a version, as 6.1. */
#define REAL_DIGITS 15

#define SHA512_DIGITS 128

static char **text_at(const struct member *row, void *members)
{
	return (char **)((char *)members + row->offset);
}

static bool is_text_kind(enum member_kind kind)
{
	return kind != MEMBER_NUMBER && kind != MEMBER_TIME;
}

/* The member as text, for free(): numbers as they would be written. NULL for what is neither, or a
 * text with a NUL in it. */
static char *value_text(const json_t *value)
{
	const char *text = json_string_value(value);

	if (json_is_number(value))
		return json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(REAL_DIGITS));
	return text && json_string_length(value) == strlen(text) ? strdup(text) : NULL;
}

static int check_name(const struct member *row, const char *text, struct error *err)
{
	static const char known[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789._:-";

	if (text[0] == '.' || text[strspn(text, known)])
		return fail(err, -EINVAL,
			"'%s' is not an identifier of letters, digits and . _ : -", row->key);
	return 0;
}

static int check_uri(const struct member *row, const char *text, struct error *err)
{
	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c > '~')
			return fail(err, -EINVAL, "'%s' is not a URI", row->key);
	return 0;
}

static int check_sha512(const struct member *row, char *text, struct error *err)
{
	for (char *c = text; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (strlen(text) != SHA512_DIGITS || text[strspn(text, "0123456789abcdef")])
		return fail(
			err, -EINVAL, "'%s' is not a SHA-512 in 128 hexadecimal digits", row->key);
	return 0;
}

/* Takes `text`. */
static int parse_text(const struct member *row, char *text, char **ret, struct error *err)
{
	*ret = text;
	if (strlen(text) > row->max)
		return fail(err, -EINVAL, "'%s' is longer than %llu bytes", row->key,
			(unsigned long long)row->max);
	switch (row->kind) {
	case MEMBER_NAME:
		return check_name(row, text, err);
	case MEMBER_URI:
		return check_uri(row, text, err);
	case MEMBER_SHA512:
		return check_sha512(row, text, err);
	case MEMBER_TEXT:
		printable_make(text, strlen(text));
		return 0;
	default:
		printable_make_line(text, strlen(text));
		return 0;
	}
}

static int parse_scalar(
	const struct member *row, const char *text, uint64_t *ret, struct error *err)
{
	struct error why = {0};

	if (row->kind == MEMBER_TIME && timestamp_parse(text, ret) < 0)
		return fail(err, -EINVAL, "'%s' is not a time in UTC, as 2026-11-21T17:51:00Z",
			row->key);
	if (row->kind == MEMBER_NUMBER && parse_number(text, 1, row->max, ret, &why) < 0)
		return fail(err, -EINVAL, "'%s' is not a number from 1 to %llu", row->key,
			(unsigned long long)row->max);
	return 0;
}

static int parse_value(
	const struct member *row, const json_t *value, void *members, struct error *err)
{
	autofree char *text = value_text(value);

	if (!text)
		return fail(err, -EINVAL, "'%s' is neither a text nor a number", row->key);
	if (is_text_kind(row->kind))
		return parse_text(row, TAKE_PTR(text), text_at(row, members), err);
	return parse_scalar(row, text, (uint64_t *)((char *)members + row->offset), err);
}

static bool is_empty(const json_t *value)
{
	return !value || json_is_null(value) ||
	       (json_is_string(value) && json_string_length(value) == 0);
}

int members_parse(const struct member *table, const json_t *object, void *ret, struct error *err)
{
	for (const struct member *row = table; row->key; row++) {
		const json_t *value = json_object_get(object, row->key);
		int r = 0;

		if (!is_empty(value) || (row->kind == MEMBER_TEXT && json_is_string(value)))
			r = parse_value(row, value, ret, err);
		else if (row->required)
			r = fail(err, -EINVAL, "it has no '%s'", row->key);
		if (r < 0)
			return r;
	}
	return 0;
}

/* As lists have them: without a fraction of a second. */
static json_t *format_time(uint64_t us)
{
	char text[TIMESTAMP_TEXT_SIZE];
	char *fraction;

	timestamp_format(us, text);
	fraction = strchr(text, '.');
	if (fraction)
		snprintf(fraction, 2, "Z");
	return json_string(text);
}

json_t *members_format(const struct member *table, const void *members)
{
	json_t *object = json_object();

	for (const struct member *row = table; row->key; row++) {
		const void *at = (const char *)members + row->offset;
		const char *text = is_text_kind(row->kind) ? *(char *const *)at : NULL;
		uint64_t number = text || is_text_kind(row->kind) ? 0 : *(const uint64_t *)at;

		if (text)
			json_object_set_new(object, row->key, json_string(text));
		else if (number > 0)
			json_object_set_new(object, row->key,
				row->kind == MEMBER_TIME ? format_time(number)
							 : json_integer((json_int_t)number));
	}
	return object;
}

void members_done(const struct member *table, void *members)
{
	for (const struct member *row = table; row->key; row++)
		if (is_text_kind(row->kind))
			free(TAKE_PTR(*text_at(row, members)));
}
