#include "call/token.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

static char directory[] = "/tmp/token-test.XXXXXX";

static int setup(void **state)
{
	return !mkdtemp(directory);
}

static int teardown(void **state)
{
	return file_remove_tree(AT_FDCWD, directory);
}

static char *write_token(const char *text, mode_t mode)
{
	char *path = path_format("%s/token", directory);

	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), mode), 0);
	return path;
}

static void a_token_is_a_line(void **state)
{
	autofree char *path = write_token("wnodes_abc \r\n\n", 0600), *token = NULL;
	struct error err = {0};

	assert_int_equal(token_load(path, &token, &err), 0);
	assert_string_equal(token, "wnodes_abc");
}

static void one_that_others_may_read_is_refused(void **state)
{
	static const mode_t modes[] = {0640, 0604, 0644};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		autofree char *path = write_token("wnodes_abc\n", modes[i]), *token = NULL;
		struct error err = {0};

		assert_int_equal(token_load(path, &token, &err), -EPERM);
		assert_null(token);
		assert_non_null(strstr(err.text, "0600"));
	}
}

static void what_is_no_file_is_refused(void **state)
{
	autofree char *token = NULL;
	struct error err = {0};

	assert_int_equal(token_load("/nonexistent", &token, &err), -ENOENT);
	assert_int_equal(token_load(directory, &token, &err), -EINVAL);
	assert_int_equal(token_load("/dev/zero", &token, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_is_a_line),
		cmocka_unit_test(one_that_others_may_read_is_refused),
		cmocka_unit_test(what_is_no_file_is_refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
