#include "lrms/process.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/child.h"

#define PATIENCE_MS 20000

static pid_t start(const char *script, const char *variable)
{
	struct child_spec child = CHILD_SPEC_INIT;
	pid_t pid;
	int pidfd;

	child.argv = (const char *const[]){"bash", "-c", script, NULL};
	child.env = (const char *const[]){"PATH=/usr/bin:/bin", variable, NULL};
	child.new_session = true;
	assert_int_equal(child_spawn(&child, &pid, &pidfd, NULL), 0);
	close(pidfd);
	return pid;
}

static void a_process_is_found_and_its_successor_is_not(void **state)
{
	struct process process, later;
	pid_t pid = start("exec sleep 1000", NULL);
	int fd;

	assert_int_equal(process_find(pid, &process), 0);
	assert_int_equal(process.pid, pid);
	fd = process_open(&process);
	assert_true(fd >= 0);
	close(fd);
	later = process;
	later.start++;
	assert_int_equal(process_open(&later), -ESRCH);
	/* A zombie has ended, though it still has its pid. */
	kill(pid, SIGKILL);
	while (process_find(pid, &later) == 0)
		usleep(1000);
	assert_int_equal(process_find(pid, &later), -ESRCH);
	assert_int_equal(process_open(&process), -ESRCH);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(process_find(pid, &later), -ESRCH);
}

/* Names of programs are shown in parentheses, and may contain them. */
static void odd_names_do_not_confuse(void **state)
{
	struct process before, after;

	assert_int_equal(process_find(getpid(), &before), 0);
	assert_int_equal(prctl(PR_SET_NAME, ") Z 1 (x"), 0);
	assert_int_equal(process_find(getpid(), &after), 0);
	assert_true(before.start == after.start);
	prctl(PR_SET_NAME, "process_test");
}

static void the_boot_id_is_one(void **state)
{
	char first[PROCESS_BOOT_ID_MAX], second[PROCESS_BOOT_ID_MAX];

	assert_int_equal(process_boot_id(first), 0);
	assert_int_equal(process_boot_id(second), 0);
	assert_string_equal(first, second);
	assert_int_equal(strlen(first), 36);
}

static void all_below_a_process_are_killed_and_reaped(void **state)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* Children, grandchildren, and such that have left the session and lost their parents. */
	start("sleep 1000 & (setsid sleep 1000 & exec setsid setsid sleep 1000) & "
	      "trap '' TERM; while :; do (sleep 0.01 & setsid sleep 1000 &); sleep 0.005; done",
		NULL);
	usleep(100000);
	assert_int_equal(process_kill_all(getpid(), NULL, PATIENCE_MS), 0);
	assert_true(waitpid(-1, NULL, WNOHANG) < 0);
	assert_int_equal(errno, ECHILD);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void those_with_a_mark_are_killed_and_no_others(void **state)
{
	pid_t marked = start("sleep 1000 & wait", "MARK=a1b2");
	pid_t other = start("exec sleep 1000", "MARK=a1b23");
	struct process process;
	int status;

	/* One level below, without the mark. */
	pid_t nested = start("env -i sleep 1000 & wait", "MARK=a1b2");

	usleep(100000);
	assert_int_equal(process_kill_all(0, "MARK=a1b2", PATIENCE_MS), 0);
	assert_int_equal(waitpid(marked, &status, 0), marked);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(waitpid(nested, &status, 0), nested);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(process_find(other, &process), 0);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
}

static void nothing_to_kill_is_no_failure(void **state)
{
	assert_int_equal(process_kill_all(getpid(), NULL, 0), 0);
	assert_int_equal(process_kill_all(0, "MARK=nobody-has-this", 0), 0);
	assert_int_equal(process_kill_all(0, NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_is_found_and_its_successor_is_not),
		cmocka_unit_test(odd_names_do_not_confuse),
		cmocka_unit_test(the_boot_id_is_one),
		cmocka_unit_test(nothing_to_kill_is_no_failure),
		cmocka_unit_test(all_below_a_process_are_killed_and_reaped),
		cmocka_unit_test(those_with_a_mark_are_killed_and_no_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
