#include "engine/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "engine/record.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

#define ID "00000000-0000-4000-8000-000000000001"

static char directory[] = "/tmp/spool-test.XXXXXX", *spool;

static int setup(void **state)
{
	struct error err = {0};

	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	log_set("spool_test", LOG_LEVEL_ERROR);
	spool = mkdtemp(directory) ? path_format("%s/records", directory) : NULL;
	return spool ? spool_make(spool, &err) : -1;
}

static int teardown(void **state)
{
	free(spool);
	return file_remove_tree(AT_FDCWD, directory);
}

static void leave(const char *name, const char *text)
{
	autofree char *path = path_format("%s/%s", spool, name);

	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

static bool is_there(const char *name)
{
	autofree char *path = path_format("%s/%s", spool, name);
	struct stat st;

	return lstat(path, &st) == 0;
}

static void make_old(const char *name)
{
	autofree char *path = path_format("%s/%s", spool, name);
	const struct timespec times[2] = {{1000000, 0}, {1000000, 0}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

static size_t count_read(void)
{
	struct spool_items items AUTO(spool_items_done);
	struct error err = {0};

	assert_int_equal(spool_read(spool, &items, &err), 0);
	return items.count;
}

static void what_is_left_is_read_until_it_is_removed(void **state)
{
	json_t *record = json_pack("{s:s}", "id", ID);
	struct error err = {0};

	assert_int_equal(spool_write(spool, record, &err), 0);
	assert_int_equal(spool_write(spool, record, &err), 0);
	json_decref(record);
	for (size_t left = 2; left > 0; left--) {
		struct spool_items items AUTO(spool_items_done);
		struct stat st;

		assert_int_equal(spool_read(spool, &items, &err), 0);
		assert_int_equal(items.count, left);
		assert_int_equal(items.items[0].uid, geteuid());
		assert_string_equal(
			json_string_value(json_object_get(items.items[0].record, "id")), ID);
		assert_true(items.items[0].written_us > 0 && !items.more);
		assert_int_equal(stat(spool, &st), 0);
		assert_int_equal(st.st_mode & 07777, 01777);
		spool_remove(spool, items.items[0].name);
	}
	assert_int_equal(count_read(), 0);
}

static void what_is_no_record_is_removed(void **state)
{
	autofree char *target = path_format("%s/target", directory);
	autofree char *link_path = path_format("%s/link", spool), *hard = NULL, *fifo = NULL,
		      *inner = NULL;
	char *long_text = malloc(RECORD_LINE_MAX + 2);

	autofree char *full = path_format("%s/full", spool);
	autofree char *full_inner = path_format("%s/full/x", spool);

	hard = path_format("%s/hard", spool);
	fifo = path_format("%s/fifo", spool);
	inner = path_format("%s/inner", spool);
	memset(long_text, ' ', RECORD_LINE_MAX + 1);
	long_text[RECORD_LINE_MAX + 1] = '\0';
	leave("long", long_text);
	free(long_text);
	assert_int_equal(file_replace(AT_FDCWD, target, "{}", 2, 0600), 0);
	assert_int_equal(symlink(target, link_path), 0);
	assert_int_equal(link(target, hard), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(mkdir(inner, 0700), 0);
	assert_int_equal(mkdir(full, 0700), 0);
	assert_int_equal(mkdir(full_inner, 0700), 0);
	leave("wrong", "{\"uid\":-1}");
	make_old("wrong");
	leave("nonsense", "\1\2");
	make_old("nonsense");
	leave("empty", "");
	make_old("empty");
	assert_int_equal(count_read(), 0);
	assert_false(is_there("long") || is_there("link") || is_there("hard") || is_there("fifo") ||
		     is_there("inner") || is_there("wrong") || is_there("nonsense") ||
		     is_there("empty"));
	assert_int_equal(access(target, F_OK), 0);
	assert_int_equal(access(full_inner, F_OK), 0); /* its owner's */
}

static void file_that_is_being_written_is_waited_for(void **state)
{
	leave("half", "{\"id\":\"0000");
	assert_int_equal(count_read(), 0);
	assert_true(is_there("half"));
	leave("half", "{\"id\":\"" ID "\"}");
	assert_int_equal(count_read(), 1);
}

static void one_user_does_not_hold_up_the_others(void **state)
{
	struct spool_items items AUTO(spool_items_done);
	struct error err = {0};
	char name[16];

	for (int i = 0; i < SPOOL_USER_MAX + 10; i++) {
		snprintf(name, sizeof(name), "%d", i);
		leave(name, "{\"id\":\"" ID "\"}");
	}
	assert_int_equal(spool_read(spool, &items, &err), 0);
	assert_int_equal(items.count, SPOOL_USER_MAX);
	assert_true(items.more);
	for (size_t i = 0; i < items.count; i++)
		spool_remove(spool, items.items[i].name);
	assert_int_equal(count_read(), 10);
}

static void directory_of_another_is_not_used(void **state)
{
	autofree char *link_path = path_format("%s/link", directory);
	autofree char *beside = spool_path("/run/wnodes/hypervisor");
	struct error err = {0};

	assert_int_equal(symlink(spool, link_path), 0);
	assert_int_equal(spool_make(link_path, &err), -EPERM);
	assert_int_equal(spool_make("/proc/nowhere/records", &err), -ENOENT);
	if (geteuid() == 0) {
		assert_int_equal(chown(spool, 64123, 64123), 0);
		assert_int_equal(spool_make(spool, &err), -EPERM);
	}
	assert_string_equal(beside, "/run/wnodes/records");
}

static void directory_that_is_missing_is_told(void **state)
{
	json_t *record = json_pack("{s:s}", "id", ID);
	struct error err = {0};

	assert_int_equal(spool_write("/proc/nowhere", record, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/proc/nowhere"));
	json_decref(record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			what_is_left_is_read_until_it_is_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_record_is_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(
			file_that_is_being_written_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(
			one_user_does_not_hold_up_the_others, setup, teardown),
		cmocka_unit_test_setup_teardown(directory_of_another_is_not_used, setup, teardown),
		cmocka_unit_test_setup_teardown(directory_that_is_missing_is_told, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
