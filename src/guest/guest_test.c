/* The agent as a host sees it. Runs as any user; nothing outside a temporary directory changes. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "guest/host_test.h"
#include "guest/now.h"

/* After our own headers: it defines a macro of the name fail. */
#include <cmocka.h>

#define SOON_MS 5000

static int setup(void **state)
{
	struct host *h = calloc(1, sizeof(*h));

	host_start(h);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct host *h = *state;
	int r = host_stop(h);

	free(h);
	/* Every test ends with the agent seeing the link's end, not with a crash. */
	return r == -EPIPE || r == -EPROTO ? 0 : -1;
}

static const char *text(const struct buffer *b)
{
	return (const char *)buffer_head(b);
}

static void test_hello_names_version_and_kernel(void **state)
{
	struct hello_guest hello;
	struct host h;
	struct frame f;

	host_fork(&h);
	assert_true(host_recv(&h, &f, SOON_MS));
	assert_int_equal(f.type, FRAME_HELLO);
	assert_int_equal(message_decode(hello_guest_fields, f.payload, f.length, &hello), 0);
	assert_int_equal(hello.magic, MESSAGE_MAGIC);
	assert_true(hello.version_min <= MESSAGE_VERSION && hello.version_max >= MESSAGE_VERSION);
	assert_true(hello.kernel[0] && hello.init[0] && hello.agent_version[0]);
	assert_true(hello.cpus > 0 && hello.memory_kib > 0 && hello.uptime_us > 0);
	assert_int_equal(host_stop(&h), -EPIPE);
}

static void test_second_hello_is_answered(void **state)
{
	struct host *h = *state;
	struct frame f;

	host_say_hello(h);
	assert_true(host_recv(h, &f, SOON_MS));
	assert_int_equal(f.type, FRAME_HELLO);
}

static void test_call_before_hello_ends_the_link(void **state)
{
	struct host h;

	host_fork(&h);
	host_send(&h, FRAME_STATISTICS, 1, 0, NULL, NULL);
	assert_true(host_is_gone(&h));
	assert_int_equal(host_stop(&h), -EPROTO);
}

static void test_unknown_version_ends_the_link(void **state)
{
	struct hello_host hello = {.magic = MESSAGE_MAGIC, .version = 999};
	struct host h;

	host_fork(&h);
	host_send(&h, FRAME_HELLO, 0, 0, hello_host_fields, &hello);
	assert_true(host_is_gone(&h));
	assert_int_equal(host_stop(&h), -EPROTO);
}

static void test_garbage_ends_the_agent(void **state)
{
	unsigned char noise[4096];
	struct host h;

	for (unsigned seed = 1; seed <= 20; seed++) {
		srandom(seed);
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (unsigned char)random();
		/* A length that is too large, so that no seed only waits for more. */
		noise[3] = 0xff;
		host_start(&h);
		host_write(&h, noise, sizeof(noise));
		assert_true(host_is_gone(&h));
		assert_int_equal(host_stop(&h), -EPROTO);
	}
}

static void test_end_of_the_host_ends_the_agent_at_once(void **state)
{
	const char *const argv[4] = {"sleep", "1000", NULL};
	struct exec_request request = host_shell(argv);
	int64_t start = now_ms();
	struct host h;

	host_start(&h);
	host_exec(&h, 1, &request);
	assert_int_equal(host_stop(&h), -EPIPE);
	assert_true(now_ms() - start < SOON_MS);
}

static void test_exit_code_is_returned(void **state)
{
	struct result r;

	host_run(*state, "exit 7", NULL, &r);
	assert_int_equal(r.reply.error, 0);
	assert_int_equal(r.status.exited, 1);
	assert_int_equal(r.status.code, 7);
	result_done(&r);
}

static void test_death_by_signal_is_returned(void **state)
{
	struct result r;

	host_run(*state, "kill -SEGV $$", NULL, &r);
	assert_int_equal(r.status.exited, 0);
	assert_int_equal(r.status.code, SIGSEGV);
	result_done(&r);
}

static void test_usage_is_returned(void **state)
{
	struct result r;

	host_run(*state, "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done", NULL, &r);
	assert_true(r.status.user_us + r.status.system_us > 1000);
	assert_true(r.status.max_rss_kib > 100);
	result_done(&r);
}

static void test_stdout_and_stderr_stay_apart(void **state)
{
	struct result r;

	host_run(*state, "echo out; echo err >&2", NULL, &r);
	assert_string_equal(text(&r.out), "out\n");
	assert_string_equal(text(&r.err), "err\n");
	result_done(&r);
}

static void test_no_stdin_is_end_of_file(void **state)
{
	struct result r;

	host_run(*state, "cat; echo end", NULL, &r);
	assert_string_equal(text(&r.out), "end\n");
	result_done(&r);
}

static void test_process_may_open_its_own_output_by_name(void **state)
{
	struct result r;

	host_run(*state, "echo out > /proc/self/fd/1; echo err > /proc/self/fd/2", NULL, &r);
	assert_string_equal(text(&r.out), "out\n");
	assert_string_equal(text(&r.err), "err\n");
	result_done(&r);
}

static void test_signals_are_as_a_login_shell_has_them(void **state)
{
	struct result r;

	/* 32 and 33 are the C library's own: whom posix_spawn(3) started has them ignored. */
	host_run(*state,
		"grep -E 'Sig(Blk|Ign)' /proc/self/status | sed 's/0000000180000000/0000000000000000/'",
		NULL, &r);
	assert_string_equal(text(&r.out), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
	result_done(&r);
}

static void test_no_descriptor_of_the_agent_leaks(void **state)
{
	struct result r;

	/* The fourth is the directory that ls reads. */
	host_run(*state, "ls /proc/self/fd | wc -l", NULL, &r);
	assert_int_equal(atoi(text(&r.out)), 4);
	result_done(&r);
}

static void test_umask_limits_and_directory_are_set(void **state)
{
	const char *const argv[4] = {"sh", "-c", "umask; ulimit -Sn; ulimit -Sf; pwd", NULL};
	/* NOFILE 20 of 30, FSIZE 100 KiB (sh counts in 512 bytes) */
	uint32_t limits[] = {7, 20, 30, 1, 100, 200};
	struct exec_request request = host_shell(argv);
	struct result r = {0};

	request.workdir = "/usr";
	request.umask = 027;
	request.limits = (struct message_numbers){limits, ARRAY_SIZE(limits)};
	host_exec(*state, 1, &request);
	host_collect(*state, 1, &r);
	assert_string_equal(text(&r.out), "0027\n20\n200\n/usr\n");
	result_done(&r);
}

struct failure {
	const char *command, *workdir;
	uint32_t error;
	const char *reason;
};

static void test_failure_to_start_names_errno_and_step(void **state)
{
	static const struct failure failures[] = {
		{"no-such-command", "/", ENOENT, "exec: "},
		{"/no/such/command", "/", ENOENT, "exec: "},
		{"/etc/passwd", "/", EACCES, "exec: "},
		{"/etc", "/", EACCES, "exec: "},
		{"", "/", ENOENT, "exec: "},
		{"true", "/no/such/directory", ENOENT, "chdir: "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		const char *const argv[4] = {failures[i].command, NULL};
		struct exec_request request = host_shell(argv);
		struct result r = {0};

		request.workdir = failures[i].workdir;
		host_exec(*state, (uint32_t)i + 1, &request);
		host_collect(*state, (uint32_t)i + 1, &r);
		assert_int_equal(r.reply.error, failures[i].error);
		assert_non_null(str_after(r.reason, failures[i].reason));
		result_done(&r);
	}
}

static void test_empty_command_is_refused(void **state)
{
	const char *const argv[4] = {NULL};
	struct exec_request request = host_shell(argv);
	struct result r = {0};

	host_exec(*state, 1, &request);
	host_collect(*state, 1, &r);
	assert_int_equal(r.reply.error, EINVAL);
	result_done(&r);
}

static void test_script_without_interpreter_runs_in_sh(void **state)
{
	struct host *h = *state;
	char path[128];
	const char *const argv[4] = {path, "a", "b", NULL};
	struct exec_request request = host_shell(argv);
	struct result r = {0};
	FILE *script;

	snprintf(path, sizeof(path), "%s/script", h->root);
	script = fopen(path, "w");
	fputs("echo $# $2\n", script);
	fclose(script);
	chmod(path, 0755);
	host_exec(h, 1, &request);
	host_collect(h, 1, &r);
	assert_string_equal(text(&r.out), "2 b\n");
	result_done(&r);
}

static void test_path_of_the_given_environment_is_searched(void **state)
{
	static const char *const env[] = {"PATH=/no/such:/bin", "X=1", NULL};
	const char *const argv[4] = {"env", NULL};
	struct exec_request request = host_shell(argv);
	struct result r = {0};

	request.env = (const char **)(uintptr_t)env;
	host_exec(*state, 1, &request);
	host_collect(*state, 1, &r);
	assert_string_equal(text(&r.out), "PATH=/no/such:/bin\nX=1\n");
	result_done(&r);
}

static void test_signal_reaches_the_process(void **state)
{
	const char *const argv[4] = {"sleep", "1000", NULL};
	struct signal_request request = {.signo = SIGUSR1};
	struct exec_request exec = host_shell(argv);
	struct result r = {0};

	host_exec(*state, 1, &exec);
	host_send(*state, FRAME_SIGNAL, 1, 0, signal_request_fields, &request);
	host_collect(*state, 1, &r);
	assert_int_equal(r.status.exited, 0);
	assert_int_equal(r.status.code, SIGUSR1);
	result_done(&r);
}

static void test_signal_reaches_the_whole_group(void **state)
{
	const char *const argv[4] = {"sh", "-c", "sleep 1000 | cat; echo survived", NULL};
	struct signal_request request = {.signo = SIGTERM, .group = 1};
	struct exec_request exec = host_shell(argv);
	struct result r = {0};

	host_exec(*state, 1, &exec);
	usleep(200000);
	host_send(*state, FRAME_SIGNAL, 1, 0, signal_request_fields, &request);
	host_collect(*state, 1, &r);
	assert_int_equal(r.status.code, SIGTERM);
	assert_string_equal(text(&r.out), "");
	result_done(&r);
}

static void test_background_process_does_not_hold_the_stream(void **state)
{
	int64_t start = now_ms();
	struct result r;

	host_run(*state, "sleep 20 & echo started", NULL, &r);
	assert_string_equal(text(&r.out), "started\n");
	assert_int_equal(r.status.code, 0);
	assert_true(now_ms() - start < SOON_MS);
	result_done(&r);
}

static void test_talking_background_process_does_not_hold_the_stream(void **state)
{
	int64_t start = now_ms();
	struct result r;

	host_run(*state, "while echo x; do sleep 0.02; done & exit 3", NULL, &r);
	assert_int_equal(r.status.code, 3);
	assert_true(now_ms() - start < SOON_MS);
	result_done(&r);
}

static void test_output_left_in_the_pipe_at_exit_is_not_lost(void **state)
{
	struct result r;

	host_run(*state, "head -c 60000 /dev/zero; sleep 20 & exit 0", NULL, &r);
	assert_int_equal(r.out.len - 1, 60000);
	result_done(&r);
}

static void test_statistics_and_probe_have_answers(void **state)
{
	struct statistics s;
	struct reply reply;
	struct probe p;

	host_call(*state, FRAME_STATISTICS, NULL, NULL, &reply);
	assert_int_equal(reply.error, 0);
	assert_int_equal(
		message_decode(statistics_fields, reply.body.data, reply.body.length, &s), 0);
	assert_true(s.memory_total_kib >= s.memory_available_kib && s.memory_available_kib > 0);
	assert_true(s.cpu_busy_us > 0 && s.processes > 1);
	host_call(*state, FRAME_PROBE, NULL, NULL, &reply);
	assert_int_equal(message_decode(probe_fields, reply.body.data, reply.body.length, &p), 0);
	assert_non_null(p.filesystems[0]);
	message_release(probe_fields, &p);
}

static void file_put(
	struct host *h, const char *path, const char *data, uint32_t append, struct reply *reply)
{
	struct file_write x = {
		.path = path,
		.mode = 0640,
		.uid = geteuid(),
		.gid = getegid(),
		.append = append,
		.data = {(const uint8_t *)data, (uint32_t)strlen(data)},
	};
	host_call(h, FRAME_FILE_WRITE, file_write_fields, &x, reply);
}

static void test_file_is_written_in_parts_and_read_back(void **state)
{
	struct file_read read = {.path = "/a/b/file", .offset = 3, .max = 100};
	struct host *h = *state;
	struct reply reply;
	char path[128];
	struct stat st;

	file_put(h, "/a/b/file", "old", 0, &reply);
	file_put(h, "/a/b/file", "first ", 0, &reply);
	assert_int_equal(reply.error, 0);
	file_put(h, "/a/b/file", "second", 1, &reply);
	assert_int_equal(reply.error, 0);
	host_call(h, FRAME_FILE_READ, file_read_fields, &read, &reply);
	assert_int_equal(reply.body.length, 9);
	assert_memory_equal(reply.body.data, "st second", 9);
	snprintf(path, sizeof(path), "%s/a/b/file", h->root);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void test_only_regular_files_are_read(void **state)
{
	struct file_read read = {.path = "/fifo", .max = 100};
	struct host *h = *state;
	struct reply reply;
	char path[128];

	snprintf(path, sizeof(path), "%s/fifo", h->root);
	assert_int_equal(mkfifo(path, 0600), 0);
	host_call(h, FRAME_FILE_READ, file_read_fields, &read, &reply);
	assert_int_equal(reply.error, EINVAL);
	read.path = "/missing";
	host_call(h, FRAME_FILE_READ, file_read_fields, &read, &reply);
	assert_int_equal(reply.error, ENOENT);
}

static void test_malformed_call_gets_an_error_and_the_link_lives(void **state)
{
	static const enum frame_type types[] = {FRAME_IDENTITY, FRAME_ACCOUNT, FRAME_MOUNT,
		FRAME_NETWORK, FRAME_FILE_WRITE, FRAME_FILE_READ, FRAME_CLOCK, FRAME_SHUTDOWN,
		FRAME_EXEC, FRAME_QUIESCE};
	struct credit junk = {.bytes = 0xfffffff0};
	struct reply reply;
	struct result r;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		host_call(*state, types[i], credit_fields, &junk, &reply);
		assert_int_not_equal(reply.error, 0);
		assert_true(reply.reason[0]);
	}
	host_run(*state, "echo alive", NULL, &r);
	assert_string_equal(text(&r.out), "alive\n");
	result_done(&r);
}

static void test_frames_of_unknown_streams_are_ignored(void **state)
{
	struct signal_request request = {.signo = SIGTERM};
	struct resize size = {1, 1};
	struct result r;

	host_send_data(*state, 77, "x", 1);
	host_send_credit(*state, 77, FRAME_STDOUT, 10);
	host_send(*state, FRAME_SIGNAL, 77, 0, signal_request_fields, &request);
	host_send(*state, FRAME_RESIZE, 77, 0, resize_fields, &size);
	host_run(*state, "echo alive", NULL, &r);
	assert_string_equal(text(&r.out), "alive\n");
	result_done(&r);
}

static void test_frame_that_comes_byte_by_byte_is_served(void **state)
{
	const char *const argv[4] = {"echo", "whole", NULL};
	struct exec_request request = host_shell(argv);
	struct buffer out AUTO(buffer_done) = {0};
	struct result r = {0};

	assert_int_equal(
		message_append_frame(&out, FRAME_EXEC, 1, 0, exec_request_fields, &request), 0);
	while (out.len > 0) {
		host_write(*state, buffer_head(&out), 1);
		buffer_consume(&out, 1);
		usleep(100);
	}
	host_collect(*state, 1, &r);
	assert_string_equal(text(&r.out), "whole\n");
	result_done(&r);
}

/* Collects the frames of a shutdown during which stream 1 runs. Returns the EXIT's signal. */
static uint32_t shutdown_collect(struct host *h, struct reply *reply)
{
	struct exit_status status = {0};
	struct frame f;
	bool exited = false;

	do {
		assert_true(host_recv(h, &f, SOON_MS));
		if (f.type == FRAME_EXIT) {
			exited = true;
			assert_int_equal(
				message_decode(exit_status_fields, f.payload, f.length, &status),
				0);
		}
	} while (f.type != FRAME_REPLY || f.id != 2);
	/* The answer comes last. */
	assert_true(exited);
	assert_int_equal(message_decode(reply_fields, f.payload, f.length, reply), 0);
	return status.code;
}

static void shutdown_start(struct host *h, const char *script, enum shutdown_how how)
{
	const char *const argv[4] = {"sh", "-c", script, NULL};
	struct shutdown request = {.how = how, .grace_ms = 300};
	struct exec_request exec = host_shell(argv);

	host_exec(h, 1, &exec);
	usleep(200000);
	host_send(h, FRAME_SHUTDOWN, 2, 0, shutdown_fields, &request);
}

static void test_shutdown_ends_processes_then_answers(void **state)
{
	struct reply reply;
	struct result r;

	shutdown_start(*state, "sleep 1000 & exec sleep 1000", SHUTDOWN_FLUSH);
	assert_int_equal(shutdown_collect(*state, &reply), SIGTERM);
	assert_int_equal(reply.error, 0);
	host_run(*state, "echo still up", NULL, &r);
	assert_string_equal(text(&r.out), "still up\n");
	result_done(&r);
}

static void test_shutdown_kills_what_ignores_sigterm(void **state)
{
	struct reply reply;

	shutdown_start(*state,
		"trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' & "
		"while :; do sleep 1000; done",
		SHUTDOWN_FLUSH);
	assert_int_equal(shutdown_collect(*state, &reply), SIGKILL);
	assert_int_equal(reply.error, 0);
}

static void test_shutdown_with_power_off_answers_first(void **state)
{
	struct reply reply;
	struct host h;

	host_start(&h);
	shutdown_start(&h, "exec sleep 1000", SHUTDOWN_POWER_OFF);
	assert_int_equal(shutdown_collect(&h, &reply), SIGTERM);
	assert_int_equal(reply.error, 0);
	assert_true(host_is_gone(&h));
	/* power_off() ends the loop in order. */
	assert_int_equal(host_stop(&h), 0);
}

static void test_no_call_is_served_during_shutdown(void **state)
{
	const char *const argv[4] = {"true", NULL};
	struct exec_request exec = host_shell(argv);
	struct reply reply = {0};
	struct frame f;

	shutdown_start(*state, "trap '' TERM; while :; do sleep 0.1; done", SHUTDOWN_FLUSH);
	host_exec(*state, 3, &exec);
	do
		assert_true(host_recv(*state, &f, SOON_MS));
	while (f.type != FRAME_REPLY || f.id != 3);
	assert_int_equal(message_decode(reply_fields, f.payload, f.length, &reply), 0);
	assert_int_equal(reply.error, ESHUTDOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello_names_version_and_kernel),
		TEST(test_second_hello_is_answered),
		cmocka_unit_test(test_call_before_hello_ends_the_link),
		cmocka_unit_test(test_unknown_version_ends_the_link),
		cmocka_unit_test(test_garbage_ends_the_agent),
		cmocka_unit_test(test_end_of_the_host_ends_the_agent_at_once),
		TEST(test_exit_code_is_returned),
		TEST(test_death_by_signal_is_returned),
		TEST(test_usage_is_returned),
		TEST(test_stdout_and_stderr_stay_apart),
		TEST(test_no_stdin_is_end_of_file),
		TEST(test_process_may_open_its_own_output_by_name),
		TEST(test_signals_are_as_a_login_shell_has_them),
		TEST(test_no_descriptor_of_the_agent_leaks),
		TEST(test_umask_limits_and_directory_are_set),
		TEST(test_failure_to_start_names_errno_and_step),
		TEST(test_empty_command_is_refused),
		TEST(test_script_without_interpreter_runs_in_sh),
		TEST(test_path_of_the_given_environment_is_searched),
		TEST(test_signal_reaches_the_process),
		TEST(test_signal_reaches_the_whole_group),
		TEST(test_background_process_does_not_hold_the_stream),
		TEST(test_talking_background_process_does_not_hold_the_stream),
		TEST(test_output_left_in_the_pipe_at_exit_is_not_lost),
		TEST(test_statistics_and_probe_have_answers),
		TEST(test_file_is_written_in_parts_and_read_back),
		TEST(test_only_regular_files_are_read),
		TEST(test_malformed_call_gets_an_error_and_the_link_lives),
		TEST(test_frames_of_unknown_streams_are_ignored),
		TEST(test_frame_that_comes_byte_by_byte_is_served),
		TEST(test_shutdown_ends_processes_then_answers),
		TEST(test_shutdown_kills_what_ignores_sigterm),
		cmocka_unit_test(test_shutdown_with_power_off_answers_first),
		TEST(test_no_call_is_served_during_shutdown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
