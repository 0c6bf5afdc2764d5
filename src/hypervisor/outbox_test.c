#include "hypervisor/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

static char directory[] = "/tmp/outbox-test.XXXXXX";
static struct outbox *o;

static int setup(void **state)
{
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	return !mkdtemp(directory);
}

static int teardown(void **state)
{
	o = outbox_free(o);
	return file_remove_tree(AT_FDCWD, directory);
}

static void open_outbox(void)
{
	struct error err = {0};

	o = outbox_free(o);
	if (outbox_new(directory, &o, &err) < 0)
		fail_msg("%s", err.text);
}

static void write_records(const char *text)
{
	autofree char *path = path_format("%s/records.jsonl", directory);
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
}

/* As logrotate does: renamed, compressed, removed. */
static void rotate(bool removed)
{
	autofree char *from = path_format("%s/records.jsonl", directory);
	autofree char *to = path_format("%s/records.jsonl.1", directory);

	assert_int_equal(rename(from, to), 0);
	if (removed)
		assert_int_equal(unlink(to), 0);
}

static void check(uint64_t from, uint64_t number, const char *content)
{
	struct error err = {0};
	char text[64] = "";
	uint64_t found;
	autoclose int fd = outbox_open(o, from, &found, &err);

	if (!content) {
		assert_int_equal(fd, -ENOENT);
		return;
	}
	assert_true(fd >= 0);
	assert_int_equal(found, number);
	assert_int_equal(read(fd, text, sizeof(text) - 1), strlen(content));
	assert_string_equal(text, content);
}

static void file_is_there_from_its_first_record(void **state)
{
	open_outbox();
	check(0, 0, NULL);
	write_records("a\n");
	check(0, 1, "a\n");
	write_records("b\n");
	check(1, 1, "a\nb\n");
	check(2, 0, NULL);
}

static void rotated_files_stay_until_they_are_delivered(void **state)
{
	open_outbox();
	write_records("a\n");
	outbox_sweep(o);
	rotate(true);
	write_records("b\n");
	open_outbox(); /* the daemon is started anew */
	rotate(false);
	outbox_sweep(o);
	check(0, 1, "a\n");
	check(2, 2, "b\n");
	write_records("c\n");
	check(3, 3, "c\n");
	outbox_drop_before(o, 3);
	check(0, 3, "c\n");
	outbox_drop_before(o, 4);
	check(0, 3, "c\n"); /* the last one stays, and its number is not given again */
	rotate(true);
	open_outbox();
	write_records("d\n");
	check(4, 4, "d\n");
}

static void cursor_and_refused_are_made(void **state)
{
	struct error err = {0};
	autoclose int cursor = -1, refused = -1;

	open_outbox();
	cursor = outbox_open_cursor(o, &err);
	refused = outbox_open_refused(o, &err);
	assert_true(cursor >= 0 && refused >= 0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(file_is_there_from_its_first_record),
		EACH(rotated_files_stay_until_they_are_delivered),
		EACH(cursor_and_refused_are_made),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
