#include "engine/caller.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct caller load(void)
{
	struct caller c;
	struct error err = {0};

	if (caller_load(&c, &err) < 0)
		fail_msg("%s", err.text);
	return c;
}

static void account_is_that_of_the_process(void **state)
{
	struct caller c AUTO(caller_done) = load();
	const struct passwd *pw = getpwuid(getuid());
	char directory[4096];

	assert_int_equal(c.uid, getuid());
	assert_int_equal(c.gid, getgid());
	if (pw)
		assert_string_equal(c.name, pw->pw_name);
	assert_non_null(getcwd(directory, sizeof(directory)));
	assert_string_equal(c.directory, directory);
	assert_int_equal(c.shell[0], '/');
}

static void umask_is_kept_and_not_changed(void **state)
{
	struct exec_request request = {0};
	mode_t before = umask(027);
	struct caller c AUTO(caller_done) = load();

	assert_int_equal(umask(before), 027);
	caller_fill_exec(&c, &request);
	assert_int_equal(request.umask, 027);
}

static void home_of_the_environment_counts(void **state)
{
	setenv("HOME", "/data/me", 1);
	struct caller c AUTO(caller_done) = load();

	assert_string_equal(c.home, "/data/me");
}

static void home_that_is_no_absolute_path_does_not_count(void **state)
{
	static const char *const bad[] = {"", "me", "./me"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		setenv("HOME", bad[i], 1);
		struct caller c AUTO(caller_done) = load();

		assert_int_equal(c.home[0], '/');
	}
}

static void supplementary_groups_have_their_names(void **state)
{
	gid_t gids[CALLER_GROUPS_MAX];
	int n = getgroups(CALLER_GROUPS_MAX, gids);
	struct caller c AUTO(caller_done) = load();
	struct account account;

	caller_fill_account(&c, &account);
	assert_int_equal(account.gids.count, n);
	for (int i = 0; i < n; i++) {
		const struct group *g = getgrgid(gids[i]);

		assert_int_equal(account.gids.values[i], gids[i]);
		if (g)
			assert_string_equal(account.group_names[i], g->gr_name);
		else
			assert_non_null(str_after(account.group_names[i], "gid"));
	}
	assert_null(account.group_names[n]);
}

static void limits_come_in_threes_and_byte_limits_in_kib(void **state)
{
	const struct rlimit files = {100, 200}, core = {4096, RLIM_INFINITY};
	struct exec_request request = {0};
	struct rlimit before_core;
	size_t found = 0;

	assert_int_equal(getrlimit(RLIMIT_CORE, &before_core), 0);
	if (before_core.rlim_max != RLIM_INFINITY || setrlimit(RLIMIT_NOFILE, &files) < 0)
		skip();
	assert_int_equal(setrlimit(RLIMIT_CORE, &core), 0);
	struct caller c AUTO(caller_done) = load();

	caller_fill_exec(&c, &request);
	assert_int_equal(request.limits.count % 3, 0);
	for (uint32_t i = 0; i < request.limits.count; i += 3) {
		const uint32_t *row = request.limits.values + i;

		if (row[0] == RLIMIT_NOFILE) {
			found++;
			assert_int_equal(row[1], 100);
			assert_int_equal(row[2], 200);
		} else if (row[0] == RLIMIT_CORE) {
			found++;
			assert_int_equal(row[1], 4);
			assert_int_equal(row[2], UINT32_MAX);
		}
		/* Those on the host's memory and processes do not describe the guest. */
		assert_int_not_equal(row[0], RLIMIT_AS);
		assert_int_not_equal(row[0], RLIMIT_NPROC);
	}
	assert_int_equal(found, 2);
}

static char *nothing[] = {NULL};
static char **own_environ; /* cmocka's settings are in it */

static int empty_environment(void **state)
{
	own_environ = environ;
	environ = nothing;
	return 0;
}

static int restore_environment(void **state)
{
	environ = own_environ;
	return 0;
}

static void environment_is_fresh_but_for_language_and_time_zone(void **state)
{
	struct strv env AUTO(strv_done) = {0};

	setenv("HOME", "/home/me", 1);
	setenv("LANG", "de_DE.UTF-8", 1);
	setenv("TZ", "Europe/Rome", 1);
	setenv("TERM", "xterm", 1);
	setenv("LD_PRELOAD", "evil.so", 1);
	setenv("PATH", "/opt/bin", 1);
	struct caller c AUTO(caller_done) = load();

	caller_fill_env(&c, false, &env);
	assert_string_equal(strv_env_get(&env, "HOME"), "/home/me");
	assert_string_equal(strv_env_get(&env, "USER"), c.name);
	assert_string_equal(strv_env_get(&env, "LOGNAME"), c.name);
	assert_string_equal(strv_env_get(&env, "SHELL"), c.shell);
	assert_string_equal(strv_env_get(&env, "LANG"), "de_DE.UTF-8");
	assert_string_equal(strv_env_get(&env, "TZ"), "Europe/Rome");
	assert_non_null(strstr(strv_env_get(&env, "PATH"), "/usr/bin:"));
	assert_null(strstr(strv_env_get(&env, "PATH"), "/opt"));
	assert_null(strv_env_get(&env, "LD_PRELOAD"));
	assert_null(strv_env_get(&env, "TERM"));
	caller_fill_env(&c, true, &env);
	assert_string_equal(strv_env_get(&env, "TERM"), "xterm");
}

static int check_unknown_user(void)
{
	struct caller c;

	clearenv();
	if (setgroups(0, NULL) < 0 || setgid(54322) < 0 || setuid(54321) < 0 ||
		caller_load(&c, NULL) < 0)
		return 1;
	if (!streq(c.name, "uid54321") || !streq(c.group, "gid54322") || !streq(c.home, "/"))
		return 2;
	return c.uid == 54321 && c.gid == 54322 && c.gid_count == 0 ? 0 : 3;
}

static void user_without_an_account_gets_a_name(void **state)
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0)
		_exit(check_unknown_user());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(account_is_that_of_the_process),
		cmocka_unit_test(umask_is_kept_and_not_changed),
		cmocka_unit_test(home_of_the_environment_counts),
		cmocka_unit_test(home_that_is_no_absolute_path_does_not_count),
		cmocka_unit_test(supplementary_groups_have_their_names),
		cmocka_unit_test(limits_come_in_threes_and_byte_limits_in_kib),
		cmocka_unit_test_setup_teardown(environment_is_fresh_but_for_language_and_time_zone,
			empty_environment, restore_environment),
		cmocka_unit_test(user_without_an_account_gets_a_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
