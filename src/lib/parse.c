/* Sizes, durations and numbers, as people write them.
 *
 * All arithmetic is on integers: "1.1G" is the same number of bytes on every machine, and a value
 * that does not fit is refused instead of rounded.
 */
#include "lib/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* More digits behind the point than this say nothing for any unit, and 10^9 times the largest
 * remainder still fits. */
#define FRACTION_DIGITS_MAX 9

#define KIB (1024ull)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

#define SECOND_US (1000000ull)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US   (60 * MINUTE_US)
#define DAY_US    (24 * HOUR_US)

/* A decimal number with a fraction: whole + part / scale. */
struct decimal {
	uint64_t whole, part, scale;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads digits only: no sign, no blanks. Returns the text behind them, or NULL when there are none
 * or too many. */
static const char *read_digits(const char *text, uint64_t *ret)
{
	uint64_t value = 0;

	if (!is_digit(*text))
		return NULL;
	for (; is_digit(*text); text++)
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return NULL;
	*ret = value;
	return text;
}

static const char *read_decimal(const char *text, struct decimal *ret)
{
	int digits = 0;

	*ret = (struct decimal){.scale = 1};
	text = read_digits(text, &ret->whole);
	if (!text || *text != '.')
		return text;
	for (text++; is_digit(*text) && digits < FRACTION_DIGITS_MAX; text++, digits++) {
		ret->part = ret->part * 10 + (uint64_t)(*text - '0');
		ret->scale *= 10;
	}
	return digits > 0 && !is_digit(*text) ? text : NULL;
}

/* Adds `d` units to *sum; false when that does not fit. A fraction of a unit is rounded down. */
static bool decimal_add(const struct decimal *d, uint64_t unit, uint64_t *sum)
{
	uint64_t whole, part;

	part = unit / d->scale * d->part + unit % d->scale * d->part / d->scale;
	return !__builtin_mul_overflow(d->whole, unit, &whole) &&
	       !__builtin_add_overflow(whole, part, &whole) &&
	       !__builtin_add_overflow(*sum, whole, sum);
}

/* The factor of a size's suffix, or 0 if it is none. */
static uint64_t size_unit(const char *suffix)
{
	static const struct {
		char letter;
		uint64_t unit;
	} units[] = {{'K', KIB}, {'M', MIB}, {'G', GIB}, {'T', TIB}};
	uint64_t unit = 1;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if ((*suffix & ~0x20) == units[i].letter)
			unit = units[i].unit;
	if (unit > 1)
		suffix++;
	if (unit > 1 && *suffix == 'i')
		return suffix[1] == 'B' && suffix[2] == '\0' ? unit : 0;
	if (*suffix == 'B')
		suffix++;
	return *suffix ? 0 : unit;
}

int parse_size(const char *text, uint64_t *ret_bytes, struct error *err)
{
	struct decimal d;
	uint64_t unit, sum = 0;
	const char *suffix = read_decimal(text, &d);

	unit = suffix ? size_unit(suffix) : 0;
	if (unit == 0 || (unit == 1 && d.scale > 1) || !decimal_add(&d, unit, &sum))
		return fail(err, -EINVAL, "'%s' is no size; write for example 512M or 2G", text);
	*ret_bytes = sum;
	return 0;
}

struct duration_unit {
	const char *suffix;
	uint64_t us;
};

/* Largest first: in "1h30m" each unit must be smaller than the one before. */
static const struct duration_unit duration_units[] = {
	{"d", DAY_US},
	{"h", HOUR_US},
	{"m", MINUTE_US},
	{"s", SECOND_US},
	{"ms", 1000},
	{"us", 1},
};

/* Finds the unit that is exactly the letters at the start of `text`. */
static const struct duration_unit *duration_unit_find(const char *text, size_t from)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz");

	for (size_t i = from; i < ARRAY_SIZE(duration_units); i++)
		if (strlen(duration_units[i].suffix) == n &&
			strncmp(duration_units[i].suffix, text, n) == 0)
			return &duration_units[i];
	return NULL;
}

static bool duration_read(const char *text, uint64_t *sum)
{
	const struct duration_unit *unit;
	struct decimal d;
	size_t from = 0;

	*sum = 0;
	do {
		text = read_decimal(text, &d);
		if (!text)
			return false;
		if (*text == '\0' && from == 0)
			return decimal_add(&d, SECOND_US, sum);
		unit = duration_unit_find(text, from);
		if (!unit || !decimal_add(&d, unit->us, sum))
			return false;
		text += strlen(unit->suffix);
		from = (size_t)(unit - duration_units) + 1;
	} while (*text);
	return true;
}

int parse_duration(const char *text, uint64_t *ret_us, struct error *err)
{
	uint64_t sum;

	if (!duration_read(text, &sum))
		return fail(err, -EINVAL, "'%s' is no duration; write for example 30s, 5m or 1h30m",
			text);
	*ret_us = sum;
	return 0;
}

int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct error *err)
{
	uint64_t value;
	const char *end = read_digits(text, &value);

	if (end && *end == '\0' && value >= min && value <= max) {
		*ret = value;
		return 0;
	}
	if (max == UINT64_MAX && min == 0)
		return fail(err, -EINVAL, "'%s' is no whole number", text);
	if (max == UINT64_MAX)
		return fail(
			err, -EINVAL, "'%s' is no whole number of %" PRIu64 " or more", text, min);
	return fail(err, -EINVAL, "'%s' is no whole number from %" PRIu64 " to %" PRIu64, text, min,
		max);
}

int parse_bool(const char *text, bool *ret, struct error *err)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {
		{"yes", true},
		{"no", false},
		{"true", true},
		{"false", false},
		{"on", true},
		{"off", false},
		{"1", true},
		{"0", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (streq(text, words[i].word)) {
			*ret = words[i].value;
			return 0;
		}
	return fail(err, -EINVAL, "'%s' is neither yes nor no", text);
}

int parse_choice(const char *text, const char *choices, struct error *err)
{
	size_t length = strlen(text);

	for (const char *p = choices; *p;) {
		size_t n = strcspn(p, "|");

		if (n == length && strncmp(p, text, n) == 0)
			return 0;
		p += n + (p[n] == '|');
	}
	return fail(err, -EINVAL, "'%s' is not one of %s", text, choices);
}

/* Checks a size or a duration; `format` shows the limits in its unit. */
static int range_check(uint64_t value, const char *text, uint64_t min, uint64_t max,
	const char *(*format)(uint64_t, char *), struct error *err)
{
	char limit[FORMAT_MAX];

	if (value < min)
		return fail(err, -EINVAL, "'%s' is below the least value, %s", text,
			format(min, limit));
	if (value > max)
		return fail(err, -EINVAL, "'%s' is above the greatest value, %s", text,
			format(max, limit));
	return 0;
}

int parse_quantity(enum parse_kind kind, const char *text, uint64_t min, uint64_t max,
	uint64_t *ret, struct error *err)
{
	uint64_t value;
	int r;

	if (min == 0 && max == 0)
		max = UINT64_MAX;
	if (kind == PARSE_NUMBER)
		return parse_number(text, min, max, ret, err);
	if (kind == PARSE_SIZE) {
		r = parse_size(text, &value, err);
		if (r >= 0)
			r = range_check(value, text, min, max, format_size, err);
	} else {
		r = parse_duration(text, &value, err);
		if (r >= 0)
			r = range_check(value, text, min, max, format_duration, err);
	}
	if (r >= 0)
		*ret = value;
	return r;
}

/* value / unit, rounded to the nearest, without overflow for any value. */
static uint64_t divide_rounded(uint64_t value, uint64_t unit)
{
	return value / unit + (value % unit >= unit - unit / 2);
}

const char *format_size(uint64_t bytes, char text[FORMAT_MAX])
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	uint64_t unit = 1, tenths;
	size_t i = 0;

	/* The rounded number decides, so that nothing reads "1024 MiB". */
	while (i + 1 < ARRAY_SIZE(names) && divide_rounded(bytes, unit) >= 1024) {
		unit *= 1024;
		i++;
	}
	tenths = bytes / unit * 10 + divide_rounded(bytes % unit * 10, unit);
	if (tenths < 100 && tenths % 10 != 0)
		snprintf(text, FORMAT_MAX, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10,
			names[i]);
	else
		snprintf(text, FORMAT_MAX, "%" PRIu64 " %s", divide_rounded(bytes, unit), names[i]);
	return text;
}

const char *format_duration(uint64_t us, char text[FORMAT_MAX])
{
	uint64_t hundredths = divide_rounded(us, SECOND_US / 100);
	uint64_t tenths = divide_rounded(us, SECOND_US / 10);
	uint64_t seconds = divide_rounded(us, SECOND_US);
	uint64_t minutes = divide_rounded(us, MINUTE_US);

	/* Each row rounds first, so that nothing reads "60.0 s" or "59m60s". */
	if (hundredths < 1000)
		snprintf(text, FORMAT_MAX, "%" PRIu64 ".%02" PRIu64 " s", hundredths / 100,
			hundredths % 100);
	else if (tenths < 600)
		snprintf(text, FORMAT_MAX, "%" PRIu64 ".%" PRIu64 " s", tenths / 10, tenths % 10);
	else if (seconds < 3600)
		snprintf(
			text, FORMAT_MAX, "%" PRIu64 "m%02" PRIu64 "s", seconds / 60, seconds % 60);
	else
		snprintf(
			text, FORMAT_MAX, "%" PRIu64 "h%02" PRIu64 "m", minutes / 60, minutes % 60);
	return text;
}
