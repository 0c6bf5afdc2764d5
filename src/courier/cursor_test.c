#include "courier/cursor.h"

#include <setjmp.h>
#include <stdarg.h>

#include "lib/file.h"

#include <cmocka.h>

static int fd;

static int setup(void **state)
{
	fd = file_open_temporary("/tmp");
	return fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	fd = base_close(fd);
	return 0;
}

static void check(uint64_t file, uint64_t offset)
{
	struct cursor c;

	assert_int_equal(cursor_read(fd, &c), 0);
	assert_int_equal(c.file, file);
	assert_int_equal(c.offset, offset);
}

static void is_read_as_it_was_written(void **state)
{
	static const struct cursor cursors[] = {{0, 0}, {1, 5}, {INT64_MAX, INT64_MAX}, {7, 0}};

	check(0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cursors); i++) {
		assert_int_equal(cursor_write(fd, &cursors[i]), 0);
		check(cursors[i].file, cursors[i].offset);
	}
}

static void nonsense_is_the_beginning(void **state)
{
	static const char *const texts[] = {"", "x", "1 2", "1 2 4", "-1 2 1",
		"99999999999999999999999 1 1",
		"00000000000000000001 00000000000000000005 0000000000"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, texts[i], strlen(texts[i]), 0), strlen(texts[i]));
		check(0, 0);
	}
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(is_read_as_it_was_written),
		EACH(nonsense_is_the_beginning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
