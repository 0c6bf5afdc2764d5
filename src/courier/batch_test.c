#include "courier/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "engine/record.h"
#include "lib/file.h"

#include <cmocka.h>

static int fd;
static struct batch b;

static int setup(void **state)
{
	fd = file_open_temporary("/tmp");
	return fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	batch_done(&b);
	fd = base_close(fd);
	return 0;
}

static void add(const char *text)
{
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
}

static void add_record(int n, const char *end)
{
	char line[128];

	snprintf(line, sizeof(line), "{\"id\":\"00000000-0000-4000-8000-%012d\"}%s", n, end);
	add(line);
}

static size_t read_from(uint64_t offset, bool closed)
{
	struct error err = {0};

	batch_done(&b);
	if (batch_read(fd, offset, closed, &b, &err) < 0)
		fail_msg("%s", err.text);
	return json_array_size(b.records);
}

static void many_records_come_in_batches(void **state)
{
	uint64_t offset = 0;
	size_t total = 0, n;

	for (int i = 0; i < 250; i++)
		add_record(i, "\n");
	while ((n = read_from(offset, false)) > 0) {
		assert_true(n <= BATCH_MAX);
		assert_int_equal(b.ends[n - 1], b.end);
		assert_int_equal(b.ends[0], offset + (b.end - offset) / n);
		offset = b.end;
		total += n;
	}
	assert_int_equal(total, 250);
	assert_int_equal(b.damaged, 0);
}

static void line_without_an_end_is_waited_for(void **state)
{
	uint64_t end;

	add_record(1, "\n");
	add_record(2, "");
	assert_int_equal(read_from(0, false), 1);
	end = b.end;
	assert_int_equal(read_from(end, false), 0);
	assert_int_equal(b.end, end);
	add("\n");
	assert_int_equal(read_from(end, false), 1);
}

static void line_without_an_end_is_none_when_nobody_writes_any_more(void **state)
{
	add_record(1, "\n");
	add("{\"id\":");
	assert_int_equal(read_from(0, true), 1);
	assert_int_equal(read_from(b.end, true), 0);
	assert_int_equal(b.damaged, 1);
	assert_int_equal(b.end, lseek(fd, 0, SEEK_END));
}

static void what_is_no_record_is_passed_over(void **state)
{
	add("\n\nnothing\n{}\n[]\n{\"id\":7}\n");
	add_record(1, "\n");
	assert_int_equal(read_from(0, false), 1);
	assert_int_equal(b.damaged, 4);
}

static void line_that_is_too_long_ends_somewhere(void **state)
{
	static char x[RECORD_LINE_MAX];
	uint64_t offset = 0;
	size_t total = 0;

	memset(x, 'x', sizeof(x) - 1);
	for (int i = 0; i < 20; i++)
		add(x);
	add("\n");
	add_record(1, "\n");
	for (int i = 0; i < 20 && total == 0; i++) {
		total = read_from(offset, false);
		offset = b.end;
	}
	assert_int_equal(total, 1);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(many_records_come_in_batches),
		EACH(line_without_an_end_is_waited_for),
		EACH(line_without_an_end_is_none_when_nobody_writes_any_more),
		EACH(what_is_no_record_is_passed_over),
		EACH(line_that_is_too_long_ends_somewhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
