/* Accounts and the resolver in a temporary root file system. */
#include "guest/account.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "guest/disk.h"
#include "guest/network.h"

/* After our own headers: it defines a macro of the name fail. */
#include <cmocka.h>

#define PASSWD "root:x:0:0:root:/root:/bin/bash\ndebian:x:1000:1000::/home/debian:/bin/sh\n"
#define GROUP  "root:x:0:\nsudo:x:27:debian\ndebian:x:1000:\n"

static char root[64];

static int setup(void **state)
{
	char path[128];

	strcpy(root, "/tmp/wnodes-account-test-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/etc", root);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/etc/passwd", root);
	assert_int_equal(disk_replace(path, PASSWD, strlen(PASSWD), 0644), 0);
	snprintf(path, sizeof(path), "%s/etc/group", root);
	assert_int_equal(disk_replace(path, GROUP, strlen(GROUP), 0644), 0);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static const char *content(const char *name)
{
	static char text[4096];
	char path[128];

	snprintf(path, sizeof(path), "%s%s", root, name);
	assert_true(disk_read(path, text, sizeof(text)) >= 0);
	return text;
}

static struct account account_example(void)
{
	static const char *names[] = {"phys", "", "sudo", NULL};
	static uint32_t gids[] = {2000, 2001, 27};

	return (struct account){
		.uid = geteuid(),
		.gid = getegid(),
		.name = "alice",
		.gecos = "Alice, A.",
		.home = "/home/alice",
		.shell = "/bin/zsh",
		.gids = {gids, ARRAY_SIZE(gids)},
		.group_names = names,
		.gid_name = "users",
	};
}

static void test_user_is_found_before_those_of_the_image(void **state)
{
	struct account x = account_example();
	struct error err = {0};
	char expected[512];

	/* The image has a user of this name, with another number. */
	x.name = "debian";
	assert_int_equal(account_set(root, &x, &err), 0);
	snprintf(expected, sizeof(expected),
		"debian:*:%u:%u:Alice, A.:/home/alice:/bin/sh\n" PASSWD, x.uid, x.gid);
	assert_string_equal(content("/etc/passwd"), expected);
}

static void test_account_may_be_set_twice(void **state)
{
	struct account x = account_example();
	struct error err = {0};
	char *passwd autofree = NULL, *group autofree = NULL;

	assert_int_equal(account_set(root, &x, &err), 0);
	passwd = strdup(content("/etc/passwd"));
	group = strdup(content("/etc/group"));
	assert_int_equal(account_set(root, &x, &err), 0);
	assert_string_equal(content("/etc/passwd"), passwd);
	assert_string_equal(content("/etc/group"), group);
}

static void test_user_that_is_right_already_is_left(void **state)
{
	struct account x = account_example();
	struct error err = {0};

	x.uid = x.gid = 1000;
	x.name = x.gid_name = "debian";
	x.home = "/home/debian";
	x.gids.count = 0;
	x.group_names = (const char *[]){NULL};
	/* The home is made beforehand: only root could give it away. */
	assert_int_equal(disk_make_dirs(strcat(strcpy((char[128]){0}, root), x.home), 0755), 0);
	assert_int_equal(account_set(root, &x, &err), 0);
	assert_string_equal(content("/etc/passwd"), PASSWD);
	assert_string_equal(content("/etc/group"), GROUP);
}

static void test_groups_get_the_member_and_keep_theirs(void **state)
{
	struct account x = account_example();
	struct error err = {0};
	char users[64];

	assert_int_equal(account_set(root, &x, &err), 0);
	assert_non_null(strstr(content("/etc/group"), "sudo:x:27:debian,alice\n"));
	assert_non_null(strstr(content("/etc/group"), "phys:x:2000:alice\n"));
	snprintf(users, sizeof(users), "users:x:%u:\n", x.gid);
	assert_non_null(strstr(content("/etc/group"), users));
	/* Its old line is gone, a group without a name is none. */
	assert_null(strstr(content("/etc/group"), "sudo:x:27:debian\n"));
	assert_null(strstr(content("/etc/group"), "2001"));
}

static void test_home_is_private_and_made_once(void **state)
{
	struct account x = account_example();
	struct error err = {0};
	char path[128];
	struct stat st;

	assert_int_equal(account_set(root, &x, &err), 0);
	snprintf(path, sizeof(path), "%s/home/alice", root);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(st.st_uid, x.uid);
	/* A home that is mounted later keeps its mode. */
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(account_set(root, &x, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

static void test_root_is_left_as_it_is(void **state)
{
	struct account x = account_example();
	struct error err = {0};

	x.uid = x.gid = 0;
	x.name = x.gid_name = "root";
	x.home = "/";
	x.gids.count = 0;
	x.group_names = (const char *[]){NULL};
	assert_int_equal(account_set(root, &x, &err), 0);
	assert_string_equal(content("/etc/passwd"), PASSWD);
}

static void test_files_that_are_missing_are_made(void **state)
{
	struct account x = account_example();
	struct error err = {0};
	char path[128];

	snprintf(path, sizeof(path), "%s/etc/passwd", root);
	unlink(path);
	assert_int_equal(account_set(root, &x, &err), 0);
	assert_non_null(str_after(content("/etc/passwd"), "alice:*:"));
}

static void test_last_line_without_end_is_kept_apart(void **state)
{
	struct account x = account_example();
	struct error err = {0};
	char path[128];

	snprintf(path, sizeof(path), "%s/etc/group", root);
	assert_int_equal(disk_replace(path, "a:x:1:\nsudo:x:27:debian", 23, 0644), 0);
	assert_int_equal(account_set(root, &x, &err), 0);
	assert_non_null(strstr(content("/etc/group"), "sudo:x:27:debian,alice\n"));
	assert_non_null(strstr(content("/etc/group"), "\na:x:1:\n"));
}

static void test_names_that_would_break_the_files_are_refused(void **state)
{
	static const char *const bad[] = {
		"", "a:b", "a\nb", "-a", "a b", "../a", "a$b", "a/b", "\xc3\xa4"};
	struct account x = account_example();
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		x = account_example();
		x.name = bad[i];
		assert_int_equal(account_set(root, &x, &err), -EINVAL);
		x = account_example();
		x.group_names = (const char *[]){bad[i][0] ? bad[i] : ":", NULL};
		assert_int_equal(account_set(root, &x, &err), -EINVAL);
	}
	x = account_example();
	x.gecos = "a\nroot2::0:0::/:/bin/sh";
	assert_int_equal(account_set(root, &x, &err), -EINVAL);
	assert_string_equal(content("/etc/passwd"), PASSWD);
	assert_string_equal(content("/etc/group"), GROUP);
	x = account_example();
	x.name = "Machine_1.x$";
	assert_int_equal(account_set(root, &x, &err), 0);
}

static ino_t inode_of(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", root, name);
	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

/* Making a new file takes a clone's kernel much longer. */
static void test_lines_that_beat_none_are_added_at_the_end(void **state)
{
	static const char *names[] = {"one", "two", NULL};
	ino_t passwd = inode_of("/etc/passwd"), group = inode_of("/etc/group");
	struct account x = account_example();
	struct error err = {0};
	char expected[512];

	if (x.uid == 0 || x.gid == 0)
		x.uid = x.gid = 4000;
	x.home = "/";
	x.gids.count = 2;
	x.group_names = names;
	assert_int_equal(account_set(root, &x, &err), 0);
	snprintf(expected, sizeof(expected), PASSWD "alice:*:%u:%u:Alice, A.:/:/bin/sh\n", x.uid,
		x.gid);
	assert_string_equal(content("/etc/passwd"), expected);
	snprintf(expected, sizeof(expected),
		GROUP "users:x:%u:\none:x:2000:alice\ntwo:x:2001:alice\n", x.gid);
	assert_string_equal(content("/etc/group"), expected);
	assert_int_equal(inode_of("/etc/passwd"), passwd);
	assert_int_equal(inode_of("/etc/group"), group);
}

static void test_lines_come_before_those_that_ask_a_directory(void **state)
{
	struct account x = account_example();
	struct error err = {0};
	char path[128];

	snprintf(path, sizeof(path), "%s/etc/passwd", root);
	assert_int_equal(disk_replace(path, "a:x:1:1::/:\n+::::::\n", 21, 0644), 0);
	x.uid = x.gid = 4000;
	x.home = "/";
	assert_int_equal(account_set(root, &x, &err), 0);
	assert_non_null(str_after(content("/etc/passwd"), "alice:*:4000:"));
}

static void test_rehearsal_changes_nothing(void **state)
{
	account_rehearse(root);
	assert_string_equal(content("/etc/passwd"), PASSWD);
	assert_string_equal(content("/etc/group"), GROUP);
}

static void test_resolver_replaces_a_symbolic_link(void **state)
{
	static const char *const servers[] = {"10.0.2.3", "fd00::1", NULL};
	static const char *const bad[] = {"10.0.2.3\noptions x", NULL};
	struct error err = {0};
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/etc/resolv.conf", root);
	assert_int_equal(symlink("/no/such/file", path), 0);
	assert_int_equal(network_set_resolver(root, servers, &err), 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_string_equal(
		content("/etc/resolv.conf"), "nameserver 10.0.2.3\nnameserver fd00::1\n");
	assert_int_equal(network_set_resolver(root, bad, &err), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_user_is_found_before_those_of_the_image),
		TEST(test_account_may_be_set_twice),
		TEST(test_user_that_is_right_already_is_left),
		TEST(test_groups_get_the_member_and_keep_theirs),
		TEST(test_home_is_private_and_made_once),
		TEST(test_root_is_left_as_it_is),
		TEST(test_files_that_are_missing_are_made),
		TEST(test_last_line_without_end_is_kept_apart),
		TEST(test_names_that_would_break_the_files_are_refused),
		TEST(test_lines_that_beat_none_are_added_at_the_end),
		TEST(test_lines_come_before_those_that_ask_a_directory),
		TEST(test_rehearsal_changes_nothing),
		TEST(test_resolver_replaces_a_symbolic_link),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
