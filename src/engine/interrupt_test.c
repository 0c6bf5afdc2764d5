#include "engine/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "lib/deadline.h"

#include <cmocka.h>

#define GRACE_US    200000
#define PATIENCE_MS 10000

struct fixture {
	sd_event *event;
	struct interrupt *interrupt;
	int forwards, signo, resizes, ends, exit_code;
	bool group;
	char why[128];
};

static void on_forward(int signo, bool group, void *userdata)
{
	struct fixture *x = userdata;

	x->forwards++;
	x->signo = signo;
	x->group = group;
}

static void on_resize(void *userdata)
{
	struct fixture *x = userdata;

	x->resizes++;
}

static void on_end(int exit_code, const char *why, void *userdata)
{
	struct fixture *x = userdata;

	x->ends++;
	x->exit_code = exit_code;
	snprintf(x->why, sizeof(x->why), "%s", why ? why : "");
}

static const struct interrupt_callbacks callbacks = {on_forward, on_resize, on_end};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	*state = x;
	return sd_event_new(&x->event) < 0 ||
	       interrupt_open(x->event, GRACE_US, &callbacks, x, &x->interrupt) < 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	interrupt_free(x->interrupt);
	sd_event_unref(x->event);
	free(x);
	return 0;
}

static void turn(struct fixture *x)
{
	while (sd_event_run(x->event, 0) > 0)
		continue;
}

static void get_signal(struct fixture *x, int signo)
{
	assert_int_equal(kill(getpid(), signo), 0);
	turn(x);
}

static void wait_for_end(struct fixture *x)
{
	uint64_t deadline = deadline_in_ms(PATIENCE_MS);

	while (x->ends == 0 && deadline_left_ms(deadline) > 0)
		sd_event_run(x->event, 10000);
	assert_int_equal(x->ends, 1);
}

static void before_the_command_signals_cancel(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
	struct fixture *x = *state;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		get_signal(x, signals[i]);
		assert_int_equal(x->ends, (int)i + 1);
		assert_int_equal(x->exit_code, 128 + signals[i]);
	}
	assert_int_equal(x->forwards, 0);
}

static void before_the_command_other_signals_do_nothing(void **state)
{
	struct fixture *x = *state;

	get_signal(x, SIGUSR1);
	get_signal(x, SIGUSR2);
	get_signal(x, SIGCONT);
	get_signal(x, SIGTSTP);
	assert_int_equal(x->ends, 0);
	assert_int_equal(x->forwards, 0);
}

static void signals_are_passed_on_to_the_command(void **state)
{
	static const int signals[] = {
		SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP, SIGTERM};
	struct fixture *x = *state;

	interrupt_set_running(x->interrupt, 0);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		get_signal(x, signals[i]);
		assert_int_equal(x->forwards, (int)i + 1);
		assert_int_equal(x->signo, signals[i]);
		assert_false(x->group);
	}
	assert_int_equal(x->ends, 0);
}

static void second_sigterm_ends_the_vm(void **state)
{
	struct fixture *x = *state;

	interrupt_set_running(x->interrupt, 0);
	get_signal(x, SIGTERM);
	get_signal(x, SIGTERM);
	assert_int_equal(x->forwards, 1);
	assert_int_equal(x->ends, 1);
	assert_int_equal(x->exit_code, 128 + SIGTERM);
	assert_false(interrupt_timed_out(x->interrupt));
}

static void grace_after_sigterm_ends_the_vm(void **state)
{
	uint64_t start = deadline_now_ms();
	struct fixture *x = *state;

	interrupt_set_running(x->interrupt, 0);
	get_signal(x, SIGTERM);
	assert_int_equal(x->ends, 0);
	wait_for_end(x);
	assert_true(deadline_now_ms() - start >= GRACE_US / 1000 - 1);
	assert_int_equal(x->exit_code, 128 + SIGTERM);
	assert_non_null(strstr(x->why, "0.20 s"));
}

static void time_limit_terminates_the_commands_group_and_then_the_vm(void **state)
{
	struct fixture *x = *state;

	interrupt_set_running(x->interrupt, 50000);
	wait_for_end(x);
	assert_int_equal(x->forwards, 1);
	assert_int_equal(x->signo, SIGTERM);
	assert_true(x->group);
	assert_int_equal(x->exit_code, 124);
	assert_true(interrupt_timed_out(x->interrupt));
}

static void time_limit_counts_from_the_commands_start(void **state)
{
	struct fixture *x = *state;

	assert_false(interrupt_timed_out(x->interrupt));
	interrupt_set_running(x->interrupt, 60 * 1000 * 1000);
	turn(x);
	assert_int_equal(x->forwards, 0);
	assert_false(interrupt_timed_out(x->interrupt));
}

/* The leader of the terminal's session and the group in front, and both are woken. */
static void check_hung_up(struct fixture *x)
{
	wait_for_end(x);
	assert_int_equal(x->forwards, 4);
	assert_int_equal(x->signo, SIGCONT);
	assert_true(x->group);
	assert_int_equal(x->exit_code, 128 + SIGHUP);
	assert_non_null(strstr(x->why, "terminal"));
}

static void hangup_signal_for_a_command_with_a_terminal_begins_the_grace(void **state)
{
	struct fixture *x = *state;

	interrupt_set_running(x->interrupt, 0);
	interrupt_set_terminal(x->interrupt, -1);
	get_signal(x, SIGHUP);
	get_signal(x, SIGHUP);
	assert_int_equal(x->forwards, 4);
	assert_int_equal(x->ends, 0);
	check_hung_up(x);
}

static void end_of_our_terminal_without_a_signal_begins_the_grace(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct fixture *x = *state;
	char name[64];

	assert_int_equal(grantpt(master) | unlockpt(master), 0);
	assert_int_equal(ptsname_r(master, name, sizeof(name)), 0);
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	interrupt_set_running(x->interrupt, 0);
	interrupt_set_terminal(x->interrupt, slave);
	assert_int_equal(write(master, "typed", 5), 5);
	turn(x);
	assert_int_equal(x->forwards, 0);
	close(master);
	check_hung_up(x);
	close(slave);
}

static void end_of_a_pipe_is_no_hangup(void **state)
{
	struct fixture *x = *state;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	interrupt_set_running(x->interrupt, 0);
	interrupt_set_terminal(x->interrupt, ends[0]);
	close(ends[1]);
	turn(x);
	assert_int_equal(x->forwards, 0);
	close(ends[0]);
}

static int setup_nohup(void **state)
{
	signal(SIGHUP, SIG_IGN);
	return setup(state);
}

static int teardown_nohup(void **state)
{
	signal(SIGHUP, SIG_DFL);
	return teardown(state);
}

static void hangup_signal_that_was_ignored_stays_ignored(void **state)
{
	struct fixture *x = *state;

	get_signal(x, SIGHUP);
	assert_int_equal(x->ends, 0);
	interrupt_set_running(x->interrupt, 0);
	get_signal(x, SIGHUP);
	assert_int_equal(x->forwards, 0);
	get_signal(x, SIGINT);
	assert_int_equal(x->forwards, 1);
}

static void new_size_of_the_terminal_is_told_at_any_time(void **state)
{
	struct fixture *x = *state;

	get_signal(x, SIGWINCH);
	assert_int_equal(x->resizes, 1);
	interrupt_set_running(x->interrupt, 0);
	get_signal(x, SIGWINCH);
	assert_int_equal(x->resizes, 2);
	assert_int_equal(x->forwards, 0);
}

static void closed_pipe_does_not_kill_us(void **state)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	assert_int_equal(write(ends[1], "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	close(ends[1]);
}

/* On a terminal of its own: says with its exit status what came of the key. */
static int under_terminal(const char *slave, int ready_fd)
{
	struct fixture x = {0};
	uint64_t deadline = deadline_in_ms(PATIENCE_MS);
	int fd;

	setsid();
	fd = open(slave, O_RDWR);
	if (fd < 0 || ioctl(fd, TIOCSCTTY, 0) < 0 || sd_event_new(&x.event) < 0 ||
		interrupt_open(x.event, GRACE_US, &callbacks, &x, &x.interrupt) < 0)
		return 1;
	interrupt_set_running(x.interrupt, 0);
	if (write(ready_fd, "r", 1) != 1)
		return 2;
	while (x.forwards == 0 && deadline_left_ms(deadline) > 0)
		sd_event_run(x.event, 10000);
	return x.signo == SIGINT && x.group ? 42 : 3;
}

static void key_on_the_terminal_is_for_the_whole_group(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), ends[2], status;
	char slave[64], byte;
	pid_t pid;

	assert_int_equal(grantpt(master) | unlockpt(master) | pipe(ends), 0);
	assert_int_equal(ptsname_r(master, slave, sizeof(slave)), 0);
	pid = fork();
	if (pid == 0)
		_exit(under_terminal(slave, ends[1]));
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(write(master, "\x03", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 42);
	close(ends[0]);
	close(master);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(before_the_command_signals_cancel),
		EACH(before_the_command_other_signals_do_nothing),
		EACH(signals_are_passed_on_to_the_command),
		EACH(second_sigterm_ends_the_vm),
		EACH(grace_after_sigterm_ends_the_vm),
		EACH(time_limit_terminates_the_commands_group_and_then_the_vm),
		EACH(time_limit_counts_from_the_commands_start),
		EACH(hangup_signal_for_a_command_with_a_terminal_begins_the_grace),
		EACH(end_of_our_terminal_without_a_signal_begins_the_grace),
		EACH(end_of_a_pipe_is_no_hangup),
		cmocka_unit_test_setup_teardown(
			hangup_signal_that_was_ignored_stays_ignored, setup_nohup, teardown_nohup),
		EACH(new_size_of_the_terminal_is_told_at_any_time),
		EACH(closed_pipe_does_not_kill_us),
		cmocka_unit_test(key_on_the_terminal_is_for_the_whole_group),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
