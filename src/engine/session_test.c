#include "engine/session.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/file.h"
#include "lib/wire.h"
#include "vm/fakeguest.h"

#include <cmocka.h>

/* A session whose guest is a fake, with a pipe at each of its three descriptors. */
struct fixture {
	struct fakeguest guest;
	struct agent *agent;
	struct session *session;
	uint32_t id;
	int in, out, err; /* the caller's ends; -1: closed */
	int ends;
	struct session_end end;
	struct exit_status status;
	char reason[64];
};

static void on_hello(const struct hello_guest *hello, void *userdata)
{
}

static void on_lost(const char *reason, void *userdata)
{
}

static void on_end(const struct session_end *end, void *userdata)
{
	struct fixture *x = userdata;

	x->ends++;
	x->end = *end;
	snprintf(x->reason, sizeof(x->reason), "%s", end->reason);
	if (end->status)
		x->status = *end->status;
}

/* Starts the session on these descriptors; taken. */
static void start(struct fixture *x, int in, int out, int err)
{
	static const char *argv[] = {"cat", NULL};
	static const struct exec_request request = {.argv = argv, .flags = EXEC_STDIN};

	assert_int_equal(session_start(x->guest.event, x->agent, &request, in, out, err, on_end, x,
				 &x->session),
		0);
	fakeguest_turn(&x->guest);
	x->id = fakeguest_expect(&x->guest, FRAME_EXEC).id;
}

static int setup(void **state)
{
	static const struct agent_callbacks callbacks = {on_hello, on_lost};
	struct fixture *x = calloc(1, sizeof(*x));
	int fd;

	signal(SIGPIPE, SIG_IGN); /* as every program that runs a session does */
	fd = fakeguest_start(&x->guest);
	assert_int_equal(agent_open(x->guest.event, fd, &callbacks, x, &x->agent), 0);
	fakeguest_greet(&x->guest);
	x->in = x->out = x->err = -1;
	*state = x;
	return 0;
}

static int setup_pipes(void **state)
{
	struct fixture *x;
	int in[2], out[2], err[2];

	setup(state);
	x = *state;
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
	x->in = in[1];
	x->out = out[0];
	x->err = err[0];
	file_set_nonblocking(x->out, true);
	file_set_nonblocking(x->err, true);
	start(x, in[0], out[1], err[1]);
	return 0;
}

static int setup_running(void **state)
{
	struct fixture *x;

	setup_pipes(state);
	x = *state;
	fakeguest_reply(&x->guest, x->id, 0, "");
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	session_free(x->session);
	agent_free(x->agent);
	fakeguest_stop(&x->guest);
	base_close(x->in);
	base_close(x->out);
	base_close(x->err);
	free(x);
	return 0;
}

/* Sends output in frames as large as they may be; each byte tells its place. */
static void send_output(struct fixture *x, size_t from, size_t length)
{
	uint8_t data[FRAME_DATA_MAX];

	for (size_t done = 0; done < length;) {
		size_t n = MIN_OF(length - done, sizeof(data));

		for (size_t i = 0; i < n; i++)
			data[i] = (uint8_t)((from + done + i) * 7);
		fakeguest_send(&x->guest, FRAME_DATA, x->id, FRAME_STDOUT, data, n);
		done += n;
	}
}

/* Reads what has come on the caller's end and checks each byte. Returns the number of bytes. */
static size_t read_output(struct fixture *x, size_t from)
{
	uint8_t data[65536];
	size_t done = 0;
	ssize_t n;

	while ((n = read(x->out, data, sizeof(data))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (data[i] != (uint8_t)((from + done + (size_t)i) * 7))
				fail_msg("byte %zu is wrong", from + done + (size_t)i);
		done += (size_t)n;
	}
	return done;
}

static void assert_text(int fd, const char *expected)
{
	char text[64] = "";
	ssize_t n = read(fd, text, sizeof(text) - 1);

	assert_int_equal(n, strlen(expected));
	assert_string_equal(text, expected);
}

/* The guest's answer to the signal that it must have got. */
static void expect_signal(struct fixture *x, uint32_t signo)
{
	struct signal_request request;
	struct frame f;

	do
		assert_true(fakeguest_take(&x->guest, &f));
	while (f.type == FRAME_CREDIT);
	assert_int_equal(f.type, FRAME_SIGNAL);
	assert_int_equal(message_decode(signal_request_fields, f.payload, f.length, &request), 0);
	assert_int_equal(request.signo, signo);
}

static void output_goes_to_its_descriptor(void **state)
{
	struct fixture *x = *state;

	fakeguest_send(&x->guest, FRAME_DATA, x->id, FRAME_STDOUT, "out", 3);
	fakeguest_send(&x->guest, FRAME_DATA, x->id, FRAME_STDERR, "err", 3);
	assert_text(x->out, "out");
	assert_text(x->err, "err");
	assert_int_equal(x->ends, 0);
}

static void end_has_the_exit_status(void **state)
{
	struct fixture *x = *state;

	fakeguest_exit(&x->guest, x->id, 42);
	assert_int_equal(x->ends, 1);
	assert_int_equal(session_exit_code(&x->end), 42);
	assert_int_equal(x->end.output_error, 0);
	assert_null(session_stream(x->session));
}

static void command_that_cannot_be_started_ends_as_in_a_shell(void **state)
{
	static const struct {
		int error;
		const char *reason;
		int code;
	} rows[] = {{ENOENT, "exec: no", 127}, {EACCES, "exec: no", 126},
		{ENOEXEC, "exec: no", 126}, {ENOENT, "chdir: no", 125}, {EPERM, "user: no", 125}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		void *fresh;
		struct fixture *x;

		setup_pipes(&fresh);
		x = fresh;
		fakeguest_reply(&x->guest, x->id, rows[i].error, rows[i].reason);
		assert_int_equal(x->ends, 1);
		assert_int_equal(x->end.start_error, rows[i].error);
		assert_string_equal(x->reason, rows[i].reason);
		assert_int_equal(session_exit_code(&x->end), rows[i].code);
		teardown(&fresh);
	}
}

static void death_by_signal_is_128_and_its_number(void **state)
{
	const struct exit_status status = {.exited = 0, .code = SIGSEGV};
	struct fixture *x = *state;

	fakeguest_tell(&x->guest, FRAME_EXIT, x->id, 0, exit_status_fields, &status);
	assert_int_equal(session_exit_code(&x->end), 128 + SIGSEGV);
}

static void lost_vm_is_no_exit_status(void **state)
{
	struct fixture *x = *state;

	x->guest.fd = base_close(x->guest.fd);
	x->guest.gone = true;
	fakeguest_turn(&x->guest);
	assert_int_equal(x->ends, 1);
	assert_null(x->end.status);
	assert_int_equal(session_exit_code(&x->end), -1);
}

/* Takes what the host has granted so far. */
static size_t take_credit(struct fixture *x)
{
	size_t bytes = 0;
	struct frame f;

	while (fakeguest_take(&x->guest, &f)) {
		assert_int_equal(f.type, FRAME_CREDIT);
		bytes += le32_load(f.payload);
	}
	return bytes;
}

static void slow_reader_loses_nothing_and_holds_the_guest_back(void **state)
{
	struct fixture *x = *state;
	size_t granted, got = 0;

	/* The odd size makes the pipe take a part of a frame. */
	send_output(x, 0, 1000);
	send_output(x, 1000, FRAME_WINDOW - 1000);
	granted = take_credit(x);
	assert_true(granted < FRAME_WINDOW);
	while (got < FRAME_WINDOW) {
		size_t n = read_output(x, got);

		assert_true(n > 0);
		got += n;
		fakeguest_turn(&x->guest);
		granted += take_credit(x);
		/* What was read, and what the pipe holds now. */
		assert_true(granted <= FRAME_WINDOW);
	}
	send_output(x, FRAME_WINDOW, 1000);
	assert_int_equal(read_output(x, FRAME_WINDOW), 1000);
}

static void end_waits_until_the_reader_has_all(void **state)
{
	struct fixture *x = *state;
	size_t got = 0;

	send_output(x, 0, FRAME_WINDOW);
	fakeguest_exit(&x->guest, x->id, 0);
	assert_int_equal(x->ends, 0);
	while (x->ends == 0) {
		size_t n = read_output(x, got);

		assert_true(n > 0);
		got += n;
		fakeguest_turn(&x->guest);
	}
	got += read_output(x, got);
	assert_int_equal(got, FRAME_WINDOW);
	assert_int_equal(session_exit_code(&x->end), 0);
}

static void lost_vm_does_not_lose_output_that_came(void **state)
{
	struct fixture *x = *state;
	size_t got = 0;

	send_output(x, 0, FRAME_WINDOW);
	x->guest.fd = base_close(x->guest.fd);
	x->guest.gone = true;
	while (x->ends == 0) {
		fakeguest_turn(&x->guest);
		got += read_output(x, got);
	}
	got += read_output(x, got);
	assert_int_equal(got, FRAME_WINDOW);
}

static void closed_reader_gives_the_command_a_sigpipe(void **state)
{
	struct fixture *x = *state;

	x->out = base_close(x->out);
	send_output(x, 0, 10);
	expect_signal(x, SIGPIPE);
	/* What still comes is dropped, and granted, so that the guest does not hang. */
	send_output(x, 10, FRAME_WINDOW - 10);
	fakeguest_expect(&x->guest, FRAME_CREDIT);
	fakeguest_exit(&x->guest, x->id, 3);
	assert_int_equal(x->ends, 1);
	assert_int_equal(x->end.output_error, EPIPE);
	assert_int_equal(session_exit_code(&x->end), 3);
}

static void full_disk_is_told_at_the_end(void **state)
{
	struct fixture *x = *state;

	start(x, -1, open("/dev/full", O_WRONLY | O_CLOEXEC), -1);
	fakeguest_reply(&x->guest, x->id, 0, "");
	send_output(x, 0, 10);
	expect_signal(x, SIGTERM);
	fakeguest_exit(&x->guest, x->id, 0);
	assert_int_equal(x->end.output_error, ENOSPC);
}

static void missing_output_is_dropped(void **state)
{
	struct fixture *x = *state;

	start(x, -1, -1, -1);
	fakeguest_reply(&x->guest, x->id, 0, "");
	for (int i = 0; i < 8; i++) {
		send_output(x, 0, FRAME_WINDOW);
		fakeguest_expect(&x->guest, FRAME_CREDIT);
	}
	fakeguest_exit(&x->guest, x->id, 0);
	assert_int_equal(x->ends, 1);
	assert_int_equal(x->end.output_error, 0);
}

static void input_reaches_the_guest_with_its_end(void **state)
{
	struct fixture *x = *state;
	struct frame f;

	assert_int_equal(write(x->in, "\0in\n", 4), 4);
	fakeguest_turn(&x->guest);
	f = fakeguest_expect(&x->guest, FRAME_DATA);
	assert_int_equal(f.channel, FRAME_STDIN);
	assert_int_equal(f.length, 4);
	assert_memory_equal(f.payload, "\0in\n", 4);
	x->in = base_close(x->in);
	fakeguest_turn(&x->guest);
	f = fakeguest_expect(&x->guest, FRAME_DATA);
	assert_int_equal(f.length, 0);
	assert_false(fakeguest_take(&x->guest, &f));
}

static void input_waits_for_the_start(void **state)
{
	struct fixture *x = *state;
	struct frame f;

	assert_int_equal(write(x->in, "early", 5), 5);
	fakeguest_turn(&x->guest);
	assert_false(fakeguest_take(&x->guest, &f));
	fakeguest_reply(&x->guest, x->id, 0, "");
	assert_int_equal(fakeguest_expect(&x->guest, FRAME_DATA).length, 5);
}

/* Takes DATA frames; returns their bytes, or fails if a byte is wrong. */
static size_t take_input(struct fixture *x, size_t from)
{
	size_t done = 0;
	struct frame f;

	while (fakeguest_take(&x->guest, &f)) {
		assert_int_equal(f.type, FRAME_DATA);
		for (uint32_t i = 0; i < f.length; i++)
			if (f.payload[i] != (uint8_t)((from + done + i) * 7))
				fail_msg("byte %zu is wrong", from + done + i);
		done += f.length;
	}
	return done;
}

static void input_is_held_until_the_guest_gives_credit(void **state)
{
	size_t size = 3 * FRAME_WINDOW + 1234, got = 0;
	autofree uint8_t *data = malloc(size);
	int file = file_open_temporary("/tmp");
	struct fixture *x = *state;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 7);
	assert_int_equal(file_write_all(file, data, size), 0);
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	start(x, file, -1, -1);
	fakeguest_reply(&x->guest, x->id, 0, "");
	while (got < size) {
		size_t n = take_input(x, got);
		struct credit credit = {(uint32_t)n};

		assert_true(n > 0 && n <= FRAME_WINDOW);
		got += n;
		fakeguest_tell(&x->guest, FRAME_CREDIT, x->id, FRAME_STDIN, credit_fields, &credit);
	}
	assert_int_equal(got, size);
}

static void input_that_cannot_be_read_is_at_its_end(void **state)
{
	struct fixture *x = *state;

	start(x, open("/", O_RDONLY | O_CLOEXEC), -1, -1);
	fakeguest_reply(&x->guest, x->id, 0, "");
	assert_int_equal(fakeguest_expect(&x->guest, FRAME_DATA).length, 0);
	assert_int_equal(x->ends, 0);
}

static void freed_session_kills_its_command(void **state)
{
	struct fixture *x = *state;

	x->session = session_free(x->session);
	fakeguest_turn(&x->guest);
	expect_signal(x, SIGKILL);
	fakeguest_exit(&x->guest, x->id, 0);
	assert_int_equal(x->ends, 0);
}

static void session_that_cannot_start_closes_its_descriptors(void **state)
{
	static const struct exec_request request = {.flags = EXEC_STDIN};
	struct fixture *x = *state;
	int ends[2];

	fakeguest_send_bytes(&x->guest, "not a frame, not at all", 23); /* the link is lost */
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(session_start(x->guest.event, x->agent, &request, -1, ends[1], -1, on_end,
				 x, &x->session),
		-ENOTCONN);
	/* No writer is left. */
	assert_int_equal(read(ends[0], (char[1]){0}, 1), 0);
	close(ends[0]);
}

#define BARE(test)    cmocka_unit_test_setup_teardown(test, setup, teardown)
#define ASKED(test)   cmocka_unit_test_setup_teardown(test, setup_pipes, teardown)
#define RUNNING(test) cmocka_unit_test_setup_teardown(test, setup_running, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUNNING(output_goes_to_its_descriptor),
		RUNNING(end_has_the_exit_status),
		cmocka_unit_test(command_that_cannot_be_started_ends_as_in_a_shell),
		RUNNING(death_by_signal_is_128_and_its_number),
		RUNNING(lost_vm_is_no_exit_status),
		RUNNING(slow_reader_loses_nothing_and_holds_the_guest_back),
		RUNNING(end_waits_until_the_reader_has_all),
		RUNNING(lost_vm_does_not_lose_output_that_came),
		RUNNING(closed_reader_gives_the_command_a_sigpipe),
		BARE(full_disk_is_told_at_the_end),
		BARE(missing_output_is_dropped),
		RUNNING(input_reaches_the_guest_with_its_end),
		ASKED(input_waits_for_the_start),
		BARE(input_is_held_until_the_guest_gives_credit),
		BARE(input_that_cannot_be_read_is_at_its_end),
		RUNNING(freed_session_kills_its_command),
		BARE(session_that_cannot_start_closes_its_descriptors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
