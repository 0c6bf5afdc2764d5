#include "image/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

static int run(const char *script, const volatile sig_atomic_t *cancel, uint64_t timeout_ms,
	struct error *err)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	autoclose int log_fd = memfd_create("log", MFD_CLOEXEC);
	const struct runner r = {.log_fd = log_fd,
		.log_path = "the.log",
		.keep_fd = -1,
		.cancel = cancel,
		.timeout_ms = timeout_ms};

	return runner_run(&r, argv, err);
}

static void a_failure_says_why_and_where_the_log_is(void **state)
{
	struct error err = {0};

	assert_int_equal(run("true", NULL, 60000, &err), 0);
	assert_int_equal(run("echo begin; echo 'E: no such package' >&2; echo I: done; exit 3",
				 NULL, 60000, &err),
		-EIO);
	assert_non_null(strstr(err.text, "status 3"));
	assert_non_null(strstr(err.text, "no such package"));
	assert_null(strstr(err.text, "done"));
	assert_non_null(strstr(err.text, "the.log"));
}

static void without_an_error_line_the_last_lines_are_the_reason(void **state)
{
	static const char *const logs[][2] = {
		{"one\ntwo\n\nthree\n\n", "two; three"},
		{"E: a\nx\nE: b\n", "a"},
		{"only", "only"},
		{"I: begin\nworking\r\ncannot\nE: setup failed: E: command failed\nI: removing\n"
		 "E: mmdebstrap failed to run\n",
			"working; cannot"},
		{"E: setup failed: x\n", ""},
		/* Noise of other programs does not hide what a script said. */
		{"E: Can not write log\nSetting up x\n" RUNNER_BEGIN
		 "the script\none\ntwo\nthree\n\n" RUNNER_FAILED
		 "the script failed with status 3\nE: setup failed\nI: bye\n",
			"the script failed with status 3; it ended with: two; three"},
		{"noise\n" RUNNER_BEGIN "the script\n" RUNNER_FAILED
		 "the script failed with status 1\n",
			"the script failed with status 1"},
		{"\n\n", ""},
		{"", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(logs); i++) {
		char reason[RUNNER_REASON_MAX];

		runner_reason(logs[i][0], reason);
		assert_string_equal(reason, logs[i][1]);
	}
}

static void long_lines_do_not_overflow_the_reason(void **state)
{
	char reason[RUNNER_REASON_MAX], log[3 * RUNNER_REASON_MAX];

	memset(log, 'x', sizeof(log));
	log[sizeof(log) - 1] = '\0';
	runner_reason(log, reason);
	assert_int_equal(strlen(reason), RUNNER_REASON_MAX - 1);
	memcpy(log, "E: ", 3);
	runner_reason(log, reason);
	assert_int_equal(strlen(reason), RUNNER_REASON_MAX - 1);
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static volatile sig_atomic_t cancelled;

static void on_alarm(int signo)
{
	cancelled = 1;
}

static void a_cancelled_program_may_clean_up(void **state)
{
	char path[] = "/tmp/wnodes-runner-test-XXXXXX", script[200];
	struct timespec start;
	int fd = mkstemp(path);

	close(fd);
	snprintf(script, sizeof(script), "trap 'rm %s; exit 1' TERM; while :; do sleep 0.05; done",
		path);
	clock_gettime(CLOCK_MONOTONIC, &start);
	signal(SIGALRM, on_alarm);
	alarm(1);
	assert_int_equal(run(script, &cancelled, 60000, NULL), -ECANCELED);
	assert_true(seconds_since(&start) < 10);
	assert_int_equal(access(path, F_OK), -1);
}

static void a_program_that_takes_too_long_is_stopped(void **state)
{
	struct error err = {0};
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(run("exec sleep 60", NULL, 400, &err), -ETIMEDOUT);
	assert_true(seconds_since(&start) < 10);
}

static void a_program_that_is_not_installed_is_told_apart(void **state)
{
	const char *const argv[] = {"wnodes-no-such-program", NULL};
	const struct runner r = {
		.log_fd = STDERR_FILENO, .log_path = "", .keep_fd = -1, .timeout_ms = 1000};

	assert_int_equal(runner_run(&r, argv, NULL), -ENOENT);
}

/* A program with a child in its group, and a daemon in a session of its own, as fakeroot has, that
 * does not mind SIGTERM. They append to a file while they live. */
#define SCRIPT_MAX 500
static void make_noisy_script(const char *path, const char *end, char ret[SCRIPT_MAX])
{
	snprintf(ret, SCRIPT_MAX,
		"say() { while :; do echo $1 >>%s; sleep 0.05; done; }; say child & "
		"(setsid sh -c 'trap \"\" TERM; while :; do echo daemon >>%s; sleep 0.05; done' &) &"
		" sleep 0.5; %s",
		path, path, end);
}

static void assert_silent(int fd)
{
	const struct timespec pause = {.tv_nsec = 500000000};
	struct stat before, after;

	assert_int_equal(fstat(fd, &before), 0);
	assert_true(before.st_size > 0);
	nanosleep(&pause, NULL);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
}

static void a_program_leaves_no_process_behind(void **state)
{
	static const char *const ends[] = {"exit 0", "say itself"};
	char path[] = "/tmp/wnodes-runner-test-XXXXXX", script[SCRIPT_MAX];
	int fd = mkstemp(path);

	make_noisy_script(path, ends[0], script);
	assert_int_equal(run(script, NULL, 60000, NULL), 0);
	assert_silent(fd);
	make_noisy_script(path, ends[1], script);
	assert_int_equal(run(script, NULL, 1500, NULL), -ETIMEDOUT);
	assert_silent(fd);
	close(fd);
	unlink(path);
}

static void nothing_survives_when_we_are_killed(void **state)
{
	const struct timespec pause = {.tv_nsec = 500000000};
	char path[] = "/tmp/wnodes-runner-test-XXXXXX", script[SCRIPT_MAX];
	struct stat before, after;
	int fd = mkstemp(path), status;
	pid_t pid = fork();

	if (pid == 0) {
		make_noisy_script(path, "say itself", script);
		run(script, NULL, 60000, NULL);
		_exit(0);
	}
	for (int i = 0; i < 100 && (fstat(fd, &before) < 0 || before.st_size < 20); i++)
		nanosleep(&pause, NULL);
	assert_true(before.st_size >= 20);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* The watcher gives them a moment. */
	for (int i = 0; i < 30; i++) {
		assert_int_equal(fstat(fd, &before), 0);
		nanosleep(&pause, NULL);
		assert_int_equal(fstat(fd, &after), 0);
		if (before.st_size == after.st_size)
			break;
	}
	assert_silent(fd);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_says_why_and_where_the_log_is),
		cmocka_unit_test(without_an_error_line_the_last_lines_are_the_reason),
		cmocka_unit_test(long_lines_do_not_overflow_the_reason),
		cmocka_unit_test(a_cancelled_program_may_clean_up),
		cmocka_unit_test(a_program_that_takes_too_long_is_stopped),
		cmocka_unit_test(a_program_that_is_not_installed_is_told_apart),
		cmocka_unit_test(a_program_leaves_no_process_behind),
		cmocka_unit_test(nothing_survives_when_we_are_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
