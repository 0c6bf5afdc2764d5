/* The process that waits in a template for the first command, as a host sees it. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "guest/disk.h"
#include "guest/host_test.h"
#include "guest/now.h"

/* After our own headers: it defines a macro of the name fail. */
#include <cmocka.h>

#define SOON_MS  5000
#define GRACE_MS 4000

/* More than the waiting process takes. */
#define LONG_VARIABLE 40000

static void quiesce(struct host *h)
{
	const char *none[] = {NULL};
	const struct quiesce x = {.drivers = none};
	struct reply reply;

	host_call(h, FRAME_QUIESCE, quiesce_fields, &x, &reply);
	assert_int_equal(reply.error, 0);
}

static int setup(void **state)
{
	struct host *h = calloc(1, sizeof(*h));

	host_start(h);
	quiesce(h);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct host *h = *state;
	int r = host_stop(h);

	free(h);
	return r == -EPIPE ? 0 : -1;
}

/* The agent's only child; 0 if it has none. */
static pid_t child_of(const struct host *h)
{
	char path[64], text[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", h->agent, h->agent);
	if (disk_read(path, text, sizeof(text)) <= 0)
		return 0;
	assert_null(strchr(text, ' ')[1] ? text : NULL);
	return (pid_t)atoi(text);
}

static void wait_for_no_child(const struct host *h)
{
	int64_t deadline = now_ms() + SOON_MS;

	while (child_of(h) > 0) {
		assert_true(now_ms() < deadline);
		usleep(5000);
	}
}

static const char *out_of(const struct result *r)
{
	return r->out.len > 0 ? (const char *)buffer_head(&r->out) : "";
}

static void assert_output(struct result *r, const char *expected)
{
	assert_int_equal(buffer_append(&r->out, "", 1), 0);
	assert_string_equal(out_of(r), expected);
	assert_true(r->status.exited);
	assert_int_equal(r->status.code, 0);
}

static void assert_runs(struct host *h, const char *script, const char *input, const char *expected)
{
	struct result r = {0};

	host_run(h, script, input, &r);
	assert_int_equal(r.reply.error, 0);
	assert_output(&r, expected);
	result_done(&r);
}

static void test_first_command_is_the_waiting_process(void **state)
{
	struct host *h = *state;
	pid_t spare = child_of(h);
	char expected[16];

	assert_true(spare > 0);
	snprintf(expected, sizeof(expected), "%d\n", spare);
	assert_runs(h, "echo $$", NULL, expected);
	wait_for_no_child(h);
}

static void test_commands_after_it_are_new_ones(void **state)
{
	assert_runs(*state, "echo 1", NULL, "1\n");
	assert_runs(*state, "echo 2", NULL, "2\n");
	assert_runs(*state, "cat", "3\n", "3\n");
}

static void test_input_reaches_it(void **state)
{
	assert_runs(*state, "cat; echo end", "some\ninput\n", "some\ninput\nend\n");
}

static void test_without_input_it_reads_nothing(void **state)
{
	assert_runs(*state, "cat; readlink /proc/self/fd/0", NULL, "/dev/null\n");
}

static void test_it_is_what_the_request_says(void **state)
{
	const char *const argv[4] = {"sh", "-c", "pwd; umask; echo $WHO; ulimit -n", NULL};
	const char *env[] = {"WHO=me", "PATH=/usr/bin:/bin", NULL};
	uint32_t files[] = {7, 77, 77};
	struct exec_request x = host_shell(argv);
	struct host *h = *state;
	struct result r = {0};

	x.env = env;
	x.workdir = "/proc";
	x.umask = 027;
	x.limits = (struct message_numbers){.values = files, .count = ARRAY_SIZE(files)};
	host_exec(h, 1, &x);
	host_collect(h, 1, &r);
	assert_output(&r, "/proc\n0027\nme\n77\n");
	result_done(&r);
}

static void test_it_leads_a_session_and_gets_signals(void **state)
{
	const char *const argv[4] = {"sh", "-c",
		"trap 'echo got; exit 0' USR1; echo ready; "
		"while :; do sleep 0.01; done",
		NULL};
	const struct signal_request usr1 = {.signo = SIGUSR1, .group = 1};
	struct exec_request x = host_shell(argv);
	struct host *h = *state;
	struct result r = {0};
	struct frame f;

	host_exec(h, 1, &x);
	do
		assert_true(host_recv(h, &f, SOON_MS));
	while (f.type != FRAME_DATA);
	host_send(h, FRAME_SIGNAL, 1, 0, signal_request_fields, &usr1);
	host_collect(h, 1, &r);
	assert_output(&r, "got\n");
	result_done(&r);
}

static void test_what_cannot_run_is_an_error(void **state)
{
	const char *argv[] = {"/no/such/program", NULL};
	struct exec_request x = host_shell((const char *const[4]){"sh", NULL});
	struct host *h = *state;
	struct result r = {0};

	x.argv = argv;
	host_exec(h, 1, &x);
	host_collect(h, 1, &r);
	assert_int_equal(r.reply.error, ENOENT);
	result_done(&r);
	assert_runs(h, "echo next", NULL, "next\n");
}

static void test_request_without_a_command_is_refused(void **state)
{
	const char *argv[] = {NULL};
	struct exec_request x = host_shell((const char *const[4]){"sh", NULL});
	struct host *h = *state;
	struct result r = {0};

	x.argv = argv;
	host_exec(h, 1, &x);
	host_collect(h, 1, &r);
	assert_int_equal(r.reply.error, EINVAL);
	result_done(&r);
}

static void test_command_on_a_terminal_ends_it(void **state)
{
	const char *const argv[4] = {"sh", "-c", "test -t 0 && echo $$", NULL};
	struct exec_request x = host_shell(argv);
	struct host *h = *state;
	pid_t spare = child_of(h);
	struct result r = {0};

	x.flags = EXEC_TTY;
	host_exec(h, 1, &x);
	host_collect(h, 1, &r);
	assert_int_equal(buffer_append(&r.out, "", 1), 0);
	assert_int_not_equal(atoi(out_of(&r)), 0);
	assert_int_not_equal(atoi(out_of(&r)), spare);
	result_done(&r);
	wait_for_no_child(h);
}

static void test_long_request_is_a_new_process(void **state)
{
	const char *const argv[4] = {"sh", "-c", "echo ${#LONG}", NULL};
	char *variable autofree = calloc(1, LONG_VARIABLE + 6);
	const char *env[] = {variable, NULL};
	struct exec_request x = host_shell(argv);
	struct host *h = *state;
	struct result r = {0};

	memcpy(variable, "LONG=", 5);
	memset(variable + 5, 'x', LONG_VARIABLE);
	x.env = env;
	host_exec(h, 1, &x);
	host_collect(h, 1, &r);
	assert_output(&r, "40000\n");
	result_done(&r);
	wait_for_no_child(h);
}

static void test_command_runs_although_it_was_killed(void **state)
{
	struct host *h = *state;

	assert_int_equal(kill(child_of(h), SIGKILL), 0);
	wait_for_no_child(h);
	assert_runs(h, "echo 1", NULL, "1\n");
	wait_for_no_child(h);
}

static int count_descriptors(pid_t pid)
{
	char path[64];
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	assert_non_null(dir);
	for (const struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void test_it_has_no_descriptor_of_the_agent(void **state)
{
	pid_t spare = child_of(*state);

	/* Its three, the one for errors, the one that it waits at. */
	for (int64_t deadline = now_ms() + SOON_MS; count_descriptors(spare) != 5;) {
		assert_true(now_ms() < deadline);
		usleep(5000);
	}
}

static void test_shutdown_does_not_wait_for_it(void **state)
{
	const struct shutdown x = {.how = SHUTDOWN_FLUSH, .grace_ms = GRACE_MS};
	struct host *h = *state;
	int64_t begin = now_ms();
	struct reply reply;

	host_call(h, FRAME_SHUTDOWN, shutdown_fields, &x, &reply);
	assert_int_equal(reply.error, 0);
	assert_true(now_ms() - begin < GRACE_MS);
	assert_int_equal(child_of(h), 0);
}

static void test_second_quiesce_keeps_the_one(void **state)
{
	struct host *h = *state;
	pid_t spare = child_of(h);

	quiesce(h);
	assert_int_equal(child_of(h), spare);
}

static void test_it_ends_with_the_agent(void **state)
{
	struct host h;
	pid_t spare;

	host_start(&h);
	quiesce(&h);
	spare = child_of(&h);
	assert_int_equal(kill(spare, 0), 0);
	assert_int_equal(host_stop(&h), -EPIPE);
	for (int64_t deadline = now_ms() + SOON_MS; kill(spare, 0) == 0;) {
		assert_true(now_ms() < deadline);
		usleep(5000);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_first_command_is_the_waiting_process),
		TEST(test_commands_after_it_are_new_ones),
		TEST(test_input_reaches_it),
		TEST(test_without_input_it_reads_nothing),
		TEST(test_it_is_what_the_request_says),
		TEST(test_it_leads_a_session_and_gets_signals),
		TEST(test_what_cannot_run_is_an_error),
		TEST(test_request_without_a_command_is_refused),
		TEST(test_command_on_a_terminal_ends_it),
		TEST(test_long_request_is_a_new_process),
		TEST(test_command_runs_although_it_was_killed),
		TEST(test_it_has_no_descriptor_of_the_agent),
		TEST(test_shutdown_does_not_wait_for_it),
		TEST(test_second_quiesce_keeps_the_one),
		cmocka_unit_test(test_it_ends_with_the_agent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
