#include "lib/parse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct sample {
	const char *text;
	uint64_t value;
};

static void sizes_are_powers_of_1024(void **state)
{
	static const struct sample samples[] = {
		{"0", 0},
		{"4096", 4096},
		{"17B", 17},
		{"1K", 1024},
		{"512M", 512ull << 20},
		{"512m", 512ull << 20},
		{"2G", 2ull << 30},
		{"2GB", 2ull << 30},
		{"2GiB", 2ull << 30},
		{"1.5G", 3ull << 29},
		{"0.1K", 102},
		{"1.000000001T", (1ull << 40) + 1099},
		{"16777215T", 16777215ull << 40},
		{"18446744073709551615", UINT64_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		uint64_t bytes = 1;

		assert_int_equal(parse_size(samples[i].text, &bytes, NULL), 0);
		assert_int_equal(bytes, samples[i].value);
	}
}

static void text_that_is_no_size_is_refused(void **state)
{
	static const char *const texts[] = {"", "M", "-1", "+1", " 1", "1 ", "12Q", "1.5", "1.5B",
		"1.", ".5G", "1.M", "1MM", "1Ki", "1iB", "1KiBB", "1e3", "0x10", "1,5G",
		"1.0000000001G", "16777216T", "18446744073709551616", "99999999999999999999G"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		uint64_t bytes = 7;
		struct error err = {0};

		assert_int_equal(parse_size(texts[i], &bytes, &err), -EINVAL);
		assert_int_equal(err.code, -EINVAL);
		assert_int_equal(bytes, 7);
	}
}

static void refusal_of_a_size_says_what_to_write(void **state)
{
	struct error err = {0};
	uint64_t bytes;

	parse_size("12Q", &bytes, &err);
	assert_string_equal(err.text, "'12Q' is no size; write for example 512M or 2G");
}

static void durations_add_up_their_units(void **state)
{
	static const struct sample samples[] = {
		{"0", 0},
		{"90", 90000000},
		{"0.5", 500000},
		{"10s", 10000000},
		{"500ms", 500000},
		{"3us", 3},
		{"5m", 300000000},
		{"1h30m", 5400000000},
		{"1m500ms", 60500000},
		{"1.5h", 5400000000},
		{"2d", 172800000000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		uint64_t us = 1;

		assert_int_equal(parse_duration(samples[i].text, &us, NULL), 0);
		assert_int_equal(us, samples[i].value);
	}
}

static void text_that_is_no_duration_is_refused(void **state)
{
	static const char *const texts[] = {"", "s", "1x", "1h30", "30m1h", "1m1m", "-5s", "5 s",
		"1hm", "1S", "213503983d", "18446744073709551615", "1s ", "1mss"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		uint64_t us = 7;
		struct error err = {0};

		assert_int_equal(parse_duration(texts[i], &us, &err), -EINVAL);
		assert_non_null(strstr(err.text, "1h30m"));
		assert_int_equal(us, 7);
	}
}

static void numbers_stay_within_their_range(void **state)
{
	static const char *const refused[] = {
		"", "0", "65", "-1", "+1", "1.0", " 1", "1 ", "one", "18446744073709551617", "0x1"};
	struct error err = {0};
	uint64_t value = 7;

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		assert_int_equal(parse_number(refused[i], 1, 64, &value, &err), -EINVAL);
	assert_int_equal(value, 7);
	assert_non_null(strstr(err.text, "from 1 to 64"));
	assert_int_equal(parse_number("1", 1, 64, &value, &err), 0);
	assert_int_equal(value, 1);
	assert_int_equal(parse_number("64", 1, 64, &value, &err), 0);
	assert_int_equal(value, 64);
	assert_int_equal(parse_number("18446744073709551615", 0, UINT64_MAX, &value, &err), 0);
	assert_true(value == UINT64_MAX);
}

static void booleans_are_eight_words_only(void **state)
{
	static const char *const yes[] = {"yes", "true", "on", "1"};
	static const char *const no[] = {"no", "false", "off", "0"};
	static const char *const neither[] = {"", "Yes", "2", "y", "yes "};
	bool value;

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		value = false;
		assert_int_equal(parse_bool(yes[i], &value, NULL), 0);
		assert_true(value);
		assert_int_equal(parse_bool(no[i], &value, NULL), 0);
		assert_false(value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(neither); i++)
		assert_int_equal(parse_bool(neither[i], &value, NULL), -EINVAL);
}

static void quantities_stay_within_their_range(void **state)
{
	struct error err = {0};
	uint64_t value = 7;

	assert_int_equal(parse_quantity(PARSE_SIZE, "64M", 64 << 20, 1 << 30, &value, &err), 0);
	assert_int_equal(value, 64 << 20);
	assert_int_equal(
		parse_quantity(PARSE_SIZE, "63M", 64 << 20, 1 << 30, &value, &err), -EINVAL);
	assert_string_equal(err.text, "'63M' is below the least value, 64 MiB");
	assert_int_equal(
		parse_quantity(PARSE_DURATION, "2h", 0, 3600000000, &value, &err), -EINVAL);
	assert_string_equal(err.text, "'2h' is above the greatest value, 1h00m");
	assert_int_equal(parse_quantity(PARSE_NUMBER, "5", 1, 4, &value, &err), -EINVAL);
	assert_int_equal(value, 64 << 20);
	assert_int_equal(parse_quantity(PARSE_NUMBER, "5", 0, 0, &value, &err), 0);
	assert_int_equal(value, 5);
}

static void choices_are_whole_words(void **state)
{
	struct error err = {0};

	assert_int_equal(parse_choice("a", "a|bc|d", NULL), 0);
	assert_int_equal(parse_choice("bc", "a|bc|d", NULL), 0);
	assert_int_equal(parse_choice("d", "a|bc|d", NULL), 0);
	assert_int_equal(parse_choice("b", "a|bc|d", &err), -EINVAL);
	assert_string_equal(err.text, "'b' is not one of a|bc|d");
	assert_int_equal(parse_choice("", "a|bc|d", NULL), -EINVAL);
	assert_int_equal(parse_choice("a|bc", "a|bc|d", NULL), -EINVAL);
}

static void sizes_are_shown_short_and_rounded(void **state)
{
	static const struct sample samples[] = {
		{"0 B", 0},
		{"17 B", 17},
		{"1023 B", 1023},
		{"1 KiB", 1024},
		{"1.5 GiB", 3ull << 29},
		{"343 MiB", 343ull << 20},
		{"10 MiB", (10ull << 20) - 1},
		{"1 GiB", (1ull << 30) - 1},
		{"16 EiB", UINT64_MAX},
	};
	char text[FORMAT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		assert_string_equal(format_size(samples[i].value, text), samples[i].text);
}

static void durations_are_shown_short_and_rounded(void **state)
{
	static const struct sample samples[] = {
		{"0.00 s", 0},
		{"0.08 s", 80000},
		{"9.99 s", 9990000},
		{"10.0 s", 9996000},
		{"12.3 s", 12345678},
		{"59.9 s", 59940000},
		{"1m00s", 59960000},
		{"3m05s", 185000000},
		{"59m59s", 3599400000},
		{"1h00m", 3599600000},
		{"2h10m", 7800000000},
		{"5124095576h02m", UINT64_MAX},
	};
	char text[FORMAT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		assert_string_equal(format_duration(samples[i].value, text), samples[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_powers_of_1024),
		cmocka_unit_test(text_that_is_no_size_is_refused),
		cmocka_unit_test(refusal_of_a_size_says_what_to_write),
		cmocka_unit_test(durations_add_up_their_units),
		cmocka_unit_test(text_that_is_no_duration_is_refused),
		cmocka_unit_test(numbers_stay_within_their_range),
		cmocka_unit_test(booleans_are_eight_words_only),
		cmocka_unit_test(quantities_stay_within_their_range),
		cmocka_unit_test(choices_are_whole_words),
		cmocka_unit_test(sizes_are_shown_short_and_rounded),
		cmocka_unit_test(durations_are_shown_short_and_rounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
