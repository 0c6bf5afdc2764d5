#include "engine/sshaccess.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

#define PROGRAM "/opt/it's 100%/wnodes"

static char directory[] = "/tmp/sshaccess-test.XXXXXX";

static int setup(void **state)
{
	memcpy(directory + sizeof(directory) - 7, "XXXXXX", 6);
	return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
	return file_remove_tree(AT_FDCWD, directory);
}

static void open_access(struct sshaccess *ret)
{
	struct error err = {0};

	if (sshaccess_open(directory, "vm-1", "alice", PROGRAM, ret, &err) < 0)
		fail_msg("%s", err.text);
}

/* What a program says; the test is skipped where there is none. */
static char *say(const char *const *argv)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};
	char *text = NULL;
	int r;

	spec.argv = argv;
	r = child_output(&spec, 10000, 65536, &text, &err);
	if (r == -ENOENT)
		skip();
	if (r < 0)
		fail_msg("%s", err.text);
	return text;
}

static void test_keys_are_made_once_and_are_the_owners(void **state)
{
	static const char *const files[] = {"ssh", "ssh/key", "ssh/host", "ssh/config"};
	struct sshaccess first AUTO(sshaccess_done) = {0}, again AUTO(sshaccess_done) = {0};

	open_access(&first);
	open_access(&again);
	assert_string_equal(first.host_key, again.host_key);
	assert_string_equal(first.user_public, again.user_public);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		autofree char *path = path_format("%s/%s", directory, files[i]);
		struct stat st;

		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 077, 0);
	}
}

/* As of two who made them at the same time, of whom one was killed. */
static void test_what_was_half_made_is_passed_over(void **state)
{
	autofree char *half = path_format("%s/ssh.abcdef", directory);
	struct sshaccess access AUTO(sshaccess_done) = {0};

	assert_int_equal(mkdir(half, 0700), 0);
	open_access(&access);
	assert_non_null(strstr(access.host_key, "OPENSSH PRIVATE KEY"));
}

static void test_ssh_takes_the_configuration(void **state)
{
	struct sshaccess access AUTO(sshaccess_done) = {0};
	autofree char *text = NULL;

	open_access(&access);
	text = say((const char *const[]){"ssh", "-G", "-F", access.config, "vm-1", NULL});
	assert_non_null(strstr(text, "\nuser alice\n"));
	assert_non_null(strstr(text, "\nstricthostkeychecking true\n"));
	assert_non_null(
		strstr(text, "\nproxycommand '/opt/it'\\''s 100%%/wnodes' vm ssh --proxy vm-1\n"));
}

static void test_keys_fit(void **state)
{
	autofree char *key = path_format("%s/ssh/host", directory), *public = NULL;
	autofree char *known_path = path_format("%s/ssh/known_hosts", directory), *known = NULL;
	struct sshaccess access AUTO(sshaccess_done) = {0};
	size_t length;

	open_access(&access);
	public = say((const char *const[]){"ssh-keygen", "-y", "-f", key, NULL});
	assert_int_equal(file_read(AT_FDCWD, known_path, 4096, &known, &length), 0);
	assert_non_null(strstr(known, "vm-1 ssh-ed25519 "));
	public[strcspn(public, "\n")] = '\0';
	assert_non_null(strstr(known, public));
}

static void test_a_path_that_ssh_cannot_take_is_refused(void **state)
{
	autofree char *odd = path_format("%s/100%%", directory);
	struct sshaccess access AUTO(sshaccess_done) = {0};
	struct error err = {0};

	assert_int_equal(sshaccess_open(odd, "vm-1", "alice", PROGRAM, &access, &err), -EINVAL);
	assert_non_null(strstr(err.text, "XDG_RUNTIME_DIR"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_keys_are_made_once_and_are_the_owners, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_was_half_made_is_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ssh_takes_the_configuration, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keys_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_path_that_ssh_cannot_take_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
