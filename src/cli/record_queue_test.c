#include "cli/record_queue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/file.h"
#include "lib/path.h"

static char directory[] = "/tmp/queue-test.XXXXXX", *queue;

static int setup(void **state)
{
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	queue = mkdtemp(directory) ? path_format("%s/outgoing", directory) : NULL;
	return queue ? 0 : -1;
}

static int teardown(void **state)
{
	free(queue);
	return file_remove_tree(AT_FDCWD, directory);
}

static bool is_hex(const char *name, size_t length)
{
	return strlen(name) == length && strspn(name, "0123456789abcdef") == length;
}

/* Checks one directory of messages, each of which is `text`; returns how many there are. */
static size_t count_messages(const char *path, const char *text)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t count = 0, length;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		autofree char *content = NULL;

		if (entry->d_name[0] == '.')
			continue;
		assert_true(is_hex(entry->d_name, 14));
		assert_int_equal(file_read(dirfd(dir), entry->d_name, 1000, &content, &length), 0);
		assert_string_equal(content, text);
		count++;
	}
	closedir(dir);
	return count;
}

static size_t count_all(const char *text)
{
	DIR *dir = opendir(queue);
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		autofree char *path = path_format("%s/%s", queue, entry->d_name);

		if (entry->d_name[0] == '.')
			continue;
		assert_true(is_hex(entry->d_name, 8));
		count += count_messages(path, text);
	}
	closedir(dir);
	return count;
}

static void messages_are_files_of_their_own(void **state)
{
	struct error err = {0};

	for (int i = 0; i < 20; i++)
		assert_int_equal(record_queue_add(queue, "a message\n", 10, &err), 0);
	assert_int_equal(count_all("a message\n"), 20);
}

static void writers_do_not_replace_each_other(void **state)
{
	pid_t pids[4];
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			for (int j = 0; j < 50; j++)
				if (record_queue_add(queue, "x", 1, NULL) < 0)
					_exit(1);
			_exit(0);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(count_all("x"), 200);
}

static void queue_that_is_a_file_is_told(void **state)
{
	struct error err = {0};

	assert_int_equal(file_replace(AT_FDCWD, queue, "", 0, 0600), 0);
	assert_int_equal(record_queue_add(queue, "x", 1, &err), -ENOTDIR);
	assert_non_null(strstr(err.text, "cannot add a message to the queue '"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(messages_are_files_of_their_own, setup, teardown),
		cmocka_unit_test_setup_teardown(writers_do_not_replace_each_other, setup, teardown),
		cmocka_unit_test_setup_teardown(queue_that_is_a_file_is_told, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
