#include "vm/template_sample_test.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/child.h"
#include "lib/file.h"

#define KEPT  "kept"
#define OWNER 64200

static void run(const char *program, const char *a, const char *b, const char *c)
{
	const char *argv[] = {program, a, b, c, NULL};
	struct child_spec child = CHILD_SPEC_INIT;

	child.argv = argv;
	assert_int_equal(child_run(&child, 10000, NULL), 0);
}

/* Makes a sample that is another user's, as root can; its record is made to fit. */
static void make(const char *key)
{
	struct error err = {0};

	if (getuid() != 0)
		skip();
	run("chmod", "755", ".", NULL);
	run("mkdir", "-m", "700", SAMPLE_DIRECTORY);
	run("chown", "64200", SAMPLE_DIRECTORY, NULL);
	assert_int_equal(setegid(OWNER), 0);
	assert_int_equal(seteuid(OWNER), 0);
	if (sample_make(key, 1000, 64, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(setegid(0), 0);
}

static void adopted_template_is_ours_and_whole(void **state)
{
	const char *key = sample_key('a');
	struct template *t AUTO(template_closep) = NULL;
	struct error err = {0};
	struct stat st;

	make(key);
	assert_int_equal(template_open(SAMPLE_DIRECTORY, key, &t, &err), -EPERM);
	assert_int_equal(template_adopt(SAMPLE_DIRECTORY, OWNER, KEPT, key, &err), 0);
	assert_int_equal(template_open(KEPT, key, &t, &err), 0);
	assert_true(sample_is_whole(t));
	assert_int_equal(fstat(t->memory_fd, &st), 0);
	assert_int_equal(st.st_uid, 0);
	/* What becomes of its maker's files does not matter any more. */
	run("rm", "-r", SAMPLE_DIRECTORY, NULL);
	assert_true(sample_is_whole(t));
	assert_int_equal(template_adopt(SAMPLE_DIRECTORY, OWNER, KEPT, key, &err), -ENOENT);
}

static void template_of_someone_else_is_not_adopted(void **state)
{
	const char *key = sample_key('a');
	struct error err = {0};

	make(key);
	assert_int_equal(template_adopt(SAMPLE_DIRECTORY, OWNER + 1, KEPT, key, &err), -EPERM);
	run("chmod", "777", SAMPLE_DIRECTORY, NULL);
	assert_int_equal(template_adopt(SAMPLE_DIRECTORY, OWNER, KEPT, key, &err), -EPERM);
	assert_true(access(KEPT "/", F_OK) < 0);
}

static void altered_or_odd_template_is_not_adopted(void **state)
{
	static const char *const damages[] = {"truncate -s 1M memory", "rm state; mkfifo state",
		"rm overlay; ln -s /etc/shadow overlay", "echo {} >template.json", "chmod 777 ."};
	const char *key = sample_key('a');

	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		char command[256];
		struct error err = {0};

		make(key);
		snprintf(command, sizeof(command), "cd %s/%s && %s", SAMPLE_DIRECTORY, key,
			damages[i]);
		run("sh", "-c", command, NULL);
		assert_int_equal(
			template_adopt(SAMPLE_DIRECTORY, OWNER, KEPT, key, &err), -EBADMSG);
		assert_true(access(KEPT "/", F_OK) < 0);
		run("rm", "-r", SAMPLE_DIRECTORY, NULL);
	}
}

static void template_that_is_there_stays(void **state)
{
	const char *key = sample_key('a');
	struct error err = {0};

	make(key);
	assert_int_equal(template_adopt(SAMPLE_DIRECTORY, OWNER, KEPT, key, &err), 0);
	assert_int_equal(template_adopt(SAMPLE_DIRECTORY, OWNER, KEPT, key, &err), -EEXIST);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, sample_setup, sample_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(adopted_template_is_ours_and_whole),
		EACH(template_of_someone_else_is_not_adopted),
		EACH(altered_or_odd_template_is_not_adopted),
		EACH(template_that_is_there_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
