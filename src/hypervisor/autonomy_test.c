#include "hypervisor/autonomy.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/file.h"

#include <cmocka.h>

#define SECOND UINT64_C(1000000)
#define HOUR   (3600 * SECOND)
#define DAY    UINT64_C(1795283460000000) /* some moment */

static char directory[] = "/tmp/autonomy-test.XXXXXX";
static char path[64];
static struct autonomy a;

static int setup(void **state)
{
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/file", directory);
	return 0;
}

static int teardown(void **state)
{
	autonomy_done(&a);
	return file_remove_tree(AT_FDCWD, directory);
}

static struct autonomy_clock at(char boot, uint64_t day_us, uint64_t boot_us)
{
	struct autonomy_clock now = {.day_us = day_us, .boot_us = boot_us};

	snprintf(now.boot, sizeof(now.boot), "%c0000000-0000-4000-8000-000000000000", boot);
	return now;
}

static uint64_t restart(const struct autonomy_clock *now)
{
	autonomy_done(&a);
	assert_int_equal(autonomy_open(&a, path, now), 0);
	return autonomy_alone_us(&a, now);
}

static void counts_from_the_last_answer(void **state)
{
	struct autonomy_clock now = at('a', DAY, 100 * SECOND);

	assert_int_equal(restart(&now), 0);
	now = at('a', DAY, 160 * SECOND);
	assert_int_equal(autonomy_alone_us(&a, &now), 60 * SECOND);
	autonomy_note_answer(&a, &now);
	assert_int_equal(autonomy_alone_us(&a, &now), 0);
	now = at('a', DAY, 170 * SECOND);
	assert_int_equal(autonomy_alone_us(&a, &now), 10 * SECOND);
}

static void goes_on_over_restarts_whatever_the_clock_of_the_day_says(void **state)
{
	struct autonomy_clock now = at('a', DAY, 100 * SECOND);

	restart(&now);
	now = at('a', DAY + HOUR, 100 * SECOND + HOUR);
	assert_int_equal(restart(&now), HOUR);
	now = at('a', DAY - 500 * HOUR, 100 * SECOND + 2 * HOUR); /* somebody has set it back */
	assert_int_equal(restart(&now), 2 * HOUR);
	now = at('a', DAY + 500 * HOUR, 100 * SECOND + 3 * HOUR);
	assert_int_equal(restart(&now), 3 * HOUR);
}

static void goes_on_over_boots_by_the_clock_of_the_day(void **state)
{
	struct autonomy_clock now = at('a', DAY, 100 * SECOND);

	restart(&now);
	now = at('b', DAY + 5 * HOUR, 10 * SECOND);
	assert_int_equal(restart(&now), 5 * HOUR);
	now = at('b', DAY + 99 * HOUR, 10 * SECOND + HOUR); /* set after the boot */
	assert_int_equal(restart(&now), 6 * HOUR);
	now = at('c', DAY + 98 * HOUR, 10 * SECOND); /* went back: nothing is counted */
	assert_int_equal(restart(&now), 6 * HOUR);
}

static void damaged_file_begins_anew(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "{\"alone_us\":-5,\"boot_us\":\"x\"}"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct autonomy_clock now = at('a', DAY, 100 * SECOND);

		assert_int_equal(file_replace(AT_FDCWD, path, texts[i], strlen(texts[i]), 0600), 0);
		assert_int_equal(restart(&now), 0);
	}
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(counts_from_the_last_answer),
		EACH(goes_on_over_restarts_whatever_the_clock_of_the_day_says),
		EACH(goes_on_over_boots_by_the_clock_of_the_day),
		EACH(damaged_file_begins_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
