#include "lib/child.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/deadline.h"

#define PATIENCE_MS 20000

#define SHELL(script)                                                                    \
	{                                                                                \
		.argv = (const char *const[]){"sh", "-c", script, NULL}, .stdin_fd = -1, \
		.stdout_fd = -1, .stderr_fd = -1                                         \
	}

static void output_of(const char *script, const char *expected)
{
	struct child_spec spec = SHELL(script);
	struct error err = {0};
	autofree char *text = NULL;

	assert_int_equal(child_output(&spec, PATIENCE_MS, 1 << 20, &text, &err), 0);
	assert_string_equal(text, expected);
}

static void output_is_captured_whole(void **state)
{
	output_of("printf 'a\\nb'", "a\nb");
	output_of("true", "");
	output_of("printf a; exec >&-; sleep 0.1", "a");
}

static void output_larger_than_a_pipe_arrives(void **state)
{
	struct child_spec spec = SHELL("head -c 1000000 /dev/zero | tr '\\0' x");
	autofree char *text = NULL;

	assert_int_equal(child_output(&spec, PATIENCE_MS, 1000000, &text, NULL), 0);
	assert_int_equal(strlen(text), 1000000);
	assert_int_equal(strspn(text, "x"), 1000000);
}

static void output_above_the_limit_is_an_error(void **state)
{
	struct child_spec spec = SHELL("yes");
	struct error err = {0};
	char *text = NULL;

	assert_int_equal(child_output(&spec, PATIENCE_MS, 1000, &text, &err), -EFBIG);
	assert_null(text);
	assert_non_null(strstr(err.text, "1000 bytes"));
}

static void stdin_is_empty_unless_given(void **state)
{
	output_of("cat", "");
}

static void failure_tells_status_and_end_of_stderr(void **state)
{
	struct child_spec spec = SHELL(
		"head -c 100000 /dev/zero | tr '\\0' y >&2; printf '\\nbad \\033disk\\n' >&2; exit 3");
	struct error err = {0};

	assert_int_equal(child_run(&spec, PATIENCE_MS, &err), -EIO);
	assert_non_null(str_after(err.text, "'sh' failed with status 3: "));
	assert_string_equal(err.text + strlen(err.text) - 10, "y bad disk");
}

static void death_by_signal_is_told(void **state)
{
	struct child_spec spec = SHELL("kill -TERM $$");
	struct error err = {0};

	assert_int_equal(child_run(&spec, PATIENCE_MS, &err), -EIO);
	assert_non_null(strstr(err.text, "signal 15"));
}

static void child_is_killed_at_its_timeout(void **state)
{
	struct child_spec spec = SHELL("echo waiting for nothing >&2; exec sleep 1000");
	uint64_t start = deadline_now_ms();
	struct error err = {0};

	assert_int_equal(child_run(&spec, 300, &err), -ETIMEDOUT);
	assert_true(deadline_now_ms() - start < PATIENCE_MS);
	assert_non_null(strstr(err.text, "0.30 s"));
	assert_non_null(strstr(err.text, "waiting for nothing"));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void endless_writer_does_not_outlive_its_timeout(void **state)
{
	struct child_spec spec = SHELL("yes >&2");
	uint64_t start = deadline_now_ms();

	spec.new_session = true;
	assert_int_equal(child_run(&spec, 300, NULL), -ETIMEDOUT);
	assert_true(deadline_now_ms() - start < PATIENCE_MS);
}

static void grandchild_holding_the_pipe_is_not_waited_for(void **state)
{
	struct child_spec spec = SHELL("sleep 5 & echo $!");
	uint64_t start = deadline_now_ms();
	autofree char *text = NULL;

	assert_int_equal(child_output(&spec, PATIENCE_MS, 100, &text, NULL), 0);
	assert_true(deadline_now_ms() - start < 4000);
	assert_int_equal(kill(atoi(text), SIGKILL), 0);
}

static void missing_program_is_reported_by_the_start(void **state)
{
	const char *const argv[] = {"no-such-program-anywhere", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};
	int pidfd = -1;

	spec.argv = argv;
	assert_int_equal(child_spawn(&spec, NULL, &pidfd, &err), -ENOENT);
	assert_int_equal(pidfd, -1);
	assert_string_equal(err.text, "cannot start 'no-such-program-anywhere': no such program");
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* In a process of its own, as it changes the user and the environment. */
static void __attribute__((noreturn)) find_with_a_closed_directory_in_path(void)
{
	const char *const argv[] = {"no-such-program-anywhere", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	int pidfd = -1, r;

	spec.argv = argv;
	setenv("PATH", "/tmp/wnodes-child-test-closed:/usr/bin", 1);
	if (geteuid() == 0 && setuid(65534) < 0)
		_exit(1);
	r = child_spawn(&spec, NULL, &pidfd, NULL);
	_exit(r == -ENOENT ? 0 : 2);
}

static void closed_directory_in_path_does_not_hide_that_a_program_is_missing(void **state)
{
	int status;
	pid_t pid;

	rmdir("/tmp/wnodes-child-test-closed");
	assert_int_equal(mkdir("/tmp/wnodes-child-test-closed", 0), 0);
	pid = fork();
	if (pid == 0)
		find_with_a_closed_directory_in_path();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	rmdir("/tmp/wnodes-child-test-closed");
	assert_int_equal(status, 0);
}

static void file_that_cannot_run_is_reported_by_the_start(void **state)
{
	const char *const argv[] = {"/etc/passwd", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	int pidfd = -1;

	spec.argv = argv;
	assert_int_equal(child_spawn(&spec, NULL, &pidfd, NULL), -EACCES);
}

static void missing_directory_is_reported_by_the_start(void **state)
{
	struct child_spec spec = SHELL("true");
	struct error err = {0};
	int pidfd = -1;

	spec.workdir = "/no/such/directory";
	assert_int_equal(child_spawn(&spec, NULL, &pidfd, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/no/such/directory"));
}

static void wait_leaves_the_child_running_at_a_timeout(void **state)
{
	struct child_spec spec = SHELL("exec sleep 1000");
	int pidfd = -1;
	pid_t pid = 0;

	assert_int_equal(child_spawn(&spec, &pid, &pidfd, NULL), 0);
	assert_int_equal(child_wait(pidfd, 50), -ETIMEDOUT);
	assert_int_equal(kill(pid, 0), 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(child_wait(pidfd, PATIENCE_MS), SIGTERM);
	close(pidfd);
}

static void wait_gives_the_exit_status(void **state)
{
	struct child_spec spec = SHELL("exit 42");
	int pidfd = -1, status;

	assert_int_equal(child_spawn(&spec, NULL, &pidfd, NULL), 0);
	status = child_wait(pidfd, PATIENCE_MS);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	close(pidfd);
}

static void only_kept_descriptors_arrive(void **state)
{
	struct child_spec spec = SHELL("cd /proc/self/fd && echo *");
	int kept = fcntl(open("/dev/null", O_RDONLY), F_DUPFD_CLOEXEC, 50);
	int leaked = dup2(kept, 60);
	autofree char *text = NULL;

	spec.keep = &kept;
	spec.keep_count = 1;
	assert_int_equal(child_output(&spec, PATIENCE_MS, 1000, &text, NULL), 0);
	assert_int_equal(kept, 50);
	assert_int_equal(leaked, 60);
	assert_non_null(strstr(text, "0 1 2"));
	assert_non_null(strstr(text, "50"));
	assert_null(strstr(text, "60"));
	assert_int_equal(fcntl(kept, F_GETFD), FD_CLOEXEC);
	close(kept);
	close(leaked);
}

static void streams_may_be_given_crosswise(void **state)
{
	struct child_spec spec = SHELL("echo out; echo err >&2");
	char text[32] = "";
	int saved = dup(1), ends[2], pidfd = -1;

	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], 1);
	spec.stdout_fd = 2;
	spec.stderr_fd = 1;
	/* What the child says on stderr must come out of our stdout. */
	assert_int_equal(child_spawn(&spec, NULL, &pidfd, NULL), 0);
	dup2(saved, 1);
	close(ends[1]);
	close(saved);
	assert_int_equal(child_wait(pidfd, PATIENCE_MS), 0);
	assert_int_equal(read(ends[0], text, sizeof(text)), 4);
	assert_memory_equal(text, "err\n", 4);
	close(ends[0]);
	close(pidfd);
}

static void works_with_closed_streams_of_the_caller(void **state)
{
	struct child_spec spec = SHELL("echo here; test ! -t 0");
	int saved[2] = {fcntl(0, F_DUPFD_CLOEXEC, 10), fcntl(1, F_DUPFD_CLOEXEC, 10)};
	autofree char *text = NULL;
	int r;

	close(0);
	close(1);
	r = child_output(&spec, PATIENCE_MS, 100, &text, NULL);
	dup2(saved[0], 0);
	dup2(saved[1], 1);
	close(saved[0]);
	close(saved[1]);
	assert_int_equal(r, 0);
	assert_string_equal(text, "here\n");
}

/* 32 and 33 are the C library's own: what was started by posix_spawn(3), as make does, has them
 * ignored, and nobody can change that. */
static void signals_arrive_clean(void **state)
{
	struct child_spec spec = SHELL("grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2 |"
				       " sed 's/0000000180000000/0000000000000000/'");
	autofree char *text = NULL;
	sigset_t usr1, before;

	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, &before);
	assert_int_equal(child_output(&spec, PATIENCE_MS, 1000, &text, NULL), 0);
	sigprocmask(SIG_SETMASK, NULL, &usr1);
	assert_true(sigismember(&usr1, SIGUSR1));
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGUSR2, SIG_DFL);
	assert_string_equal(text, "0000000000000000\n0000000000000000\n");
}

static void unasked_child_ends_by_kill_alone(void **state)
{
	struct child_spec spec = SHELL("echo ready; exec sleep 60");
	static const int asking[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP};
	int ends[2], pidfd = -1;
	char word[8];
	pid_t pid;

	assert_int_equal(child_pipe(ends), 0);
	spec.stdout_fd = ends[1];
	spec.unasked = true;
	assert_int_equal(child_spawn(&spec, &pid, &pidfd, NULL), 0);
	assert_int_equal(read(ends[0], word, sizeof(word)), 6);
	for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
		assert_int_equal(kill(pid, asking[i]), 0);
	assert_int_equal(child_wait(pidfd, 200), -ETIMEDOUT);
	assert_int_equal(child_kill(pidfd), SIGKILL);
	close(pidfd);
	close(ends[0]);
	close(ends[1]);
}

static void environment_directory_and_session_are_as_asked(void **state)
{
	static const char *const env[] = {"PATH=/usr/bin:/bin", "COLOUR=blue", NULL};
	struct child_spec spec = SHELL("echo $COLOUR $HOME $PWD; ulimit -c; "
				       "test $$ = $(cut -d' ' -f6 /proc/self/stat) && echo leader; "
				       "grep NoNewPrivs /proc/self/status");
	autofree char *text = NULL;

	spec.env = env;
	spec.workdir = "/";
	spec.new_session = true;
	spec.no_new_privs = true;
	assert_int_equal(child_output(&spec, PATIENCE_MS, 1000, &text, NULL), 0);
	assert_string_equal(text, "blue /\n0\nleader\nNoNewPrivs:\t1\n");
}

/* In a process of its own: starts a child that would live long, tells its pid, and ends. */
static void __attribute__((noreturn)) end_before_the_child(int report)
{
	struct child_spec spec = SHELL("exec sleep 1000");
	int pidfd = -1;
	pid_t pid = 0;

	spec.dies_with_parent = true;
	if (child_spawn(&spec, &pid, &pidfd, NULL) < 0 ||
		write(report, &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	_exit(0);
}

static void child_dies_with_its_parent(void **state)
{
	int ends[2], status;
	pid_t pid, orphan = 0;

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		end_before_the_child(ends[1]);
	close(ends[1]);
	assert_int_equal(read(ends[0], &orphan, sizeof(orphan)), sizeof(orphan));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	alarm(PATIENCE_MS / 1000);
	assert_int_equal(waitpid(orphan, &status, 0), orphan);
	alarm(0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(ends[0]);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* What before_exec() is to return, and what it saw. */
struct permission {
	int answer;
	pid_t pid;
	bool had_run;
};

static int look_for_the_file(pid_t pid, void *userdata, struct error *err)
{
	struct permission *p = userdata;

	p->pid = pid;
	usleep(20000);
	p->had_run = access("/proc/self/cwd/child-test-ran", F_OK) == 0;
	return p->answer < 0 ? (fail)(err, p->answer, "not this one") : 0;
}

static void nothing_is_executed_before_the_caller_allows_it(void **state)
{
	struct child_spec spec = SHELL("touch child-test-ran; echo $$ >child-test-ran");
	struct permission p = {.answer = -ECANCELED};
	char directory[] = "/tmp/child-test.XXXXXX", text[32] = "";
	struct error err = {0};
	pid_t pid = -1;
	FILE *file;
	int pidfd;

	assert_non_null(mkdtemp(directory));
	assert_int_equal(chdir(directory), 0);
	spec.before_exec = look_for_the_file;
	spec.userdata = &p;
	assert_int_equal(child_spawn(&spec, &pid, &pidfd, &err), -ECANCELED);
	assert_string_equal(err.text, "not this one");
	assert_true(access("child-test-ran", F_OK) < 0);
	/* Reaped: nobody is left. */
	assert_true(waitpid(-1, NULL, WNOHANG) < 0);

	p.answer = 0;
	assert_int_equal(child_spawn(&spec, &pid, &pidfd, &err), 0);
	assert_false(p.had_run);
	assert_int_equal(p.pid, pid);
	assert_int_equal(child_wait(pidfd, PATIENCE_MS), 0);
	close(pidfd);
	file = fopen("child-test-ran", "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_int_equal(atoi(text), pid);

	/* A step that fails before is still what is told. */
	spec.workdir = "/no/such/directory";
	assert_int_equal(child_spawn(&spec, &pid, &pidfd, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/no/such/directory"));
	unlink("child-test-ran");
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(directory), 0);
}

static size_t open_descriptors(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void no_descriptor_is_left_behind(void **state)
{
	struct child_spec good = SHELL("echo x; echo y >&2"), bad = SHELL("true");
	size_t before = open_descriptors();

	bad.workdir = "/no/such/directory";
	for (int i = 0; i < 3; i++) {
		autofree char *text = NULL;
		int pidfd = -1;

		assert_int_equal(child_output(&good, PATIENCE_MS, 100, &text, NULL), 0);
		assert_int_equal(child_run(&good, PATIENCE_MS, NULL), 0);
		assert_true(child_spawn(&bad, NULL, &pidfd, NULL) < 0);
		assert_true(child_run(&bad, PATIENCE_MS, NULL) < 0);
	}
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_is_captured_whole),
		cmocka_unit_test(output_larger_than_a_pipe_arrives),
		cmocka_unit_test(output_above_the_limit_is_an_error),
		cmocka_unit_test(stdin_is_empty_unless_given),
		cmocka_unit_test(failure_tells_status_and_end_of_stderr),
		cmocka_unit_test(death_by_signal_is_told),
		cmocka_unit_test(child_is_killed_at_its_timeout),
		cmocka_unit_test(endless_writer_does_not_outlive_its_timeout),
		cmocka_unit_test(grandchild_holding_the_pipe_is_not_waited_for),
		cmocka_unit_test(missing_program_is_reported_by_the_start),
		cmocka_unit_test(closed_directory_in_path_does_not_hide_that_a_program_is_missing),
		cmocka_unit_test(file_that_cannot_run_is_reported_by_the_start),
		cmocka_unit_test(missing_directory_is_reported_by_the_start),
		cmocka_unit_test(wait_leaves_the_child_running_at_a_timeout),
		cmocka_unit_test(wait_gives_the_exit_status),
		cmocka_unit_test(only_kept_descriptors_arrive),
		cmocka_unit_test(streams_may_be_given_crosswise),
		cmocka_unit_test(works_with_closed_streams_of_the_caller),
		cmocka_unit_test(signals_arrive_clean),
		cmocka_unit_test(unasked_child_ends_by_kill_alone),
		cmocka_unit_test(environment_directory_and_session_are_as_asked),
		cmocka_unit_test(child_dies_with_its_parent),
		cmocka_unit_test(nothing_is_executed_before_the_caller_allows_it),
		cmocka_unit_test(no_descriptor_is_left_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
