#include "lib/timestamp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void times_are_written_in_utc_and_read_again(void **state)
{
	static const struct {
		uint64_t us;
		const char *text;
	} samples[] = {
		{0, "1970-01-01T00:00:00.000000Z"},
		{1, "1970-01-01T00:00:00.000001Z"},
		{UINT64_C(951782399999999), "2000-02-28T23:59:59.999999Z"},
		{UINT64_C(951782400000000), "2000-02-29T00:00:00.000000Z"},
		{UINT64_C(1795283460250000), "2026-11-21T17:51:00.250000Z"},
		{UINT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
	};

	setenv("TZ", "America/New_York", 1);
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		char text[TIMESTAMP_TEXT_SIZE];
		uint64_t us;

		assert_string_equal(timestamp_format(samples[i].us, text), samples[i].text);
		assert_int_equal(timestamp_parse(text, &us), 0);
		assert_true(us == samples[i].us);
	}
}

static void fraction_may_be_shorter_or_missing(void **state)
{
	uint64_t us;

	assert_int_equal(timestamp_parse("1970-01-01T00:00:01Z", &us), 0);
	assert_int_equal(us, 1000000);
	assert_int_equal(timestamp_parse("1970-01-01T00:00:01.5Z", &us), 0);
	assert_int_equal(us, 1500000);
	assert_int_equal(timestamp_parse("1970-01-01T00:00:01.1234567Z", &us), 0);
	assert_int_equal(us, 1123456);
}

static void no_time_is_beyond_the_text(void **state)
{
	char text[TIMESTAMP_TEXT_SIZE];

	assert_string_equal(timestamp_format(UINT64_MAX, text), "9999-12-31T23:59:59.999999Z");
	assert_true(timestamp_now_us() > UINT64_C(1600000000000000));
}

static void other_texts_are_refused(void **state)
{
	static const char *const others[] = {"", "2026", "2026-11-21", "2026-11-21T17:51:00",
		"2026-11-21T17:51:00+01:00", "2026-11-21 17:51:00Z", "2026-11-21T17:51:00.Z",
		"2026-06-31T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
		"2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
		"1969-12-31T23:59:59Z", "26-1-1T00:00:00Z", "2026-11-21T17:51:00Zx",
		" 2026-11-21T17:51:00Z", "-026-11-21T17:51:00Z"};
	uint64_t us;

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (timestamp_parse(others[i], &us) != -EINVAL)
			fail_msg("'%s' was read", others[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_written_in_utc_and_read_again),
		cmocka_unit_test(fraction_may_be_shorter_or_missing),
		cmocka_unit_test(no_time_is_beyond_the_text),
		cmocka_unit_test(other_texts_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
