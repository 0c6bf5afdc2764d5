#include "vm/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/wire.h"
#include "vm/fakeguest.h"

/* One process in a fake guest, and what its owner was told. */
struct fixture {
	struct fakeguest guest;
	struct agent *agent;
	struct stream *stream;
	uint32_t id;
	int starts, exits, rooms, losses;
	int start_error;
	char step[64];
	bool has_status;
	struct exit_status status;
	struct buffer output[FRAME_CHANNELS];
	bool ended[FRAME_CHANNELS];
	char reason[256];
};

static void on_hello(const struct hello_guest *hello, void *userdata)
{
}

static void on_lost(const char *reason, void *userdata)
{
	struct fixture *x = userdata;

	x->losses++;
	snprintf(x->reason, sizeof(x->reason), "%s", reason);
}

static void on_started(int error, const char *reason, void *userdata)
{
	struct fixture *x = userdata;

	x->starts++;
	x->start_error = error;
	snprintf(x->step, sizeof(x->step), "%s", reason);
}

static void on_data(enum frame_channel channel, const uint8_t *data, size_t length, void *userdata)
{
	struct fixture *x = userdata;

	assert_int_equal(x->exits, 0);
	x->ended[channel] = length == 0;
	assert_int_equal(buffer_append(&x->output[channel], data, length), 0);
}

static void on_room(void *userdata)
{
	struct fixture *x = userdata;

	x->rooms++;
}

static void on_exit_told(const struct exit_status *status, void *userdata)
{
	struct fixture *x = userdata;

	x->exits++;
	x->has_status = status != NULL;
	if (status)
		x->status = *status;
}

static const struct stream_callbacks stream_callbacks = {
	on_started, on_data, on_room, on_exit_told};

static int exec_true(struct fixture *x, struct stream **ret)
{
	static const char *argv[] = {"true", NULL};
	static const struct exec_request request = {.argv = argv, .flags = EXEC_STDIN};

	return stream_exec(x->agent, &request, &stream_callbacks, x, ret);
}

static int setup_asked(void **state)
{
	static const struct agent_callbacks callbacks = {on_hello, on_lost};
	struct fixture *x = calloc(1, sizeof(*x));
	int fd = fakeguest_start(&x->guest);

	assert_int_equal(agent_open(x->guest.event, fd, &callbacks, x, &x->agent), 0);
	fakeguest_greet(&x->guest);
	assert_int_equal(exec_true(x, &x->stream), 0);
	fakeguest_turn(&x->guest);
	x->id = fakeguest_expect(&x->guest, FRAME_EXEC).id;
	*state = x;
	return 0;
}

static int setup_running(void **state)
{
	struct fixture *x;

	setup_asked(state);
	x = *state;
	fakeguest_reply(&x->guest, x->id, 0, "");
	assert_int_equal(x->starts, 1);
	assert_int_equal(x->start_error, 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	stream_free(x->stream);
	agent_free(x->agent);
	fakeguest_stop(&x->guest);
	for (int i = 0; i < FRAME_CHANNELS; i++)
		buffer_done(&x->output[i]);
	free(x);
	return 0;
}

static void assert_lost(const struct fixture *x, const char *because)
{
	assert_int_equal(x->losses, 1);
	if (!strstr(x->reason, because))
		fail_msg("'%s' does not say '%s'", x->reason, because);
}

/* Sends so many bytes of output, in frames as large as they may be. */
static void send_output(struct fixture *x, enum frame_channel channel, size_t length)
{
	static const uint8_t data[FRAME_DATA_MAX];

	while (length > 0 && x->losses == 0) {
		size_t n = MIN_OF(length, sizeof(data));
		fakeguest_send(&x->guest, FRAME_DATA, x->id, channel, data, n);
		length -= n;
	}
}

static void send_credit(struct fixture *x, enum frame_channel channel, uint32_t bytes)
{
	const struct credit credit = {bytes};

	fakeguest_tell(&x->guest, FRAME_CREDIT, x->id, channel, credit_fields, &credit);
}

static void failed_exec_is_told_with_its_step_and_nothing_follows(void **state)
{
	struct fixture *x = *state;

	fakeguest_reply(&x->guest, x->id, ENOENT, "exec");
	assert_int_equal(x->starts, 1);
	assert_int_equal(x->start_error, ENOENT);
	assert_string_equal(x->step, "exec");
	send_output(x, FRAME_STDOUT, 10);
	fakeguest_exit(&x->guest, x->id, 0);
	assert_int_equal(x->output[FRAME_STDOUT].len, 0);
	assert_int_equal(x->exits, 0);
	assert_int_equal(stream_signal(x->stream, SIGTERM, false), -ESRCH);
}

static void output_arrives_on_its_channel_with_its_end(void **state)
{
	struct fixture *x = *state;

	fakeguest_send(&x->guest, FRAME_DATA, x->id, FRAME_STDOUT, "out", 3);
	fakeguest_send(&x->guest, FRAME_DATA, x->id, FRAME_STDERR, "\0err", 4);
	fakeguest_send(&x->guest, FRAME_DATA, x->id, FRAME_STDOUT, "!", 1);
	fakeguest_send(&x->guest, FRAME_DATA, x->id, FRAME_STDOUT, NULL, 0);
	assert_int_equal(x->output[FRAME_STDOUT].len, 4);
	assert_memory_equal(buffer_head(&x->output[FRAME_STDOUT]), "out!", 4);
	assert_int_equal(x->output[FRAME_STDERR].len, 4);
	assert_memory_equal(buffer_head(&x->output[FRAME_STDERR]), "\0err", 4);
	assert_true(x->ended[FRAME_STDOUT]);
	assert_false(x->ended[FRAME_STDERR]);
}

static void output_before_the_start_ends_the_link(void **state)
{
	struct fixture *x = *state;

	send_output(x, FRAME_STDOUT, 1);
	assert_lost(x, "not started");
}

static void output_after_its_end_ends_the_link(void **state)
{
	struct fixture *x = *state;

	fakeguest_send(&x->guest, FRAME_DATA, x->id, FRAME_STDERR, NULL, 0);
	send_output(x, FRAME_STDOUT, 1);
	assert_int_equal(x->losses, 0);
	send_output(x, FRAME_STDERR, 1);
	assert_lost(x, "after its end");
}

static void output_on_stdin_ends_the_link(void **state)
{
	struct fixture *x = *state;

	send_output(x, FRAME_STDIN, 1);
	assert_lost(x, "stdin");
}

static void window_may_be_used_whole_but_not_more(void **state)
{
	struct fixture *x = *state;

	send_output(x, FRAME_STDOUT, FRAME_WINDOW);
	assert_int_equal(x->output[FRAME_STDOUT].len, FRAME_WINDOW);
	send_output(x, FRAME_STDERR, FRAME_WINDOW);
	assert_int_equal(x->losses, 0);
	send_output(x, FRAME_STDOUT, 1);
	assert_lost(x, "more output than it may");
	assert_int_equal(x->output[FRAME_STDOUT].len, FRAME_WINDOW);
}

static void frame_of_output_above_its_limit_ends_the_link(void **state)
{
	static const uint8_t data[FRAME_DATA_MAX + 1];
	struct fixture *x = *state;

	fakeguest_send(&x->guest, FRAME_DATA, x->id, FRAME_STDOUT, data, sizeof(data));
	assert_lost(x, "more output than it may");
}

static void granted_output_comes_back_as_credit_in_lumps(void **state)
{
	struct fixture *x = *state;
	struct credit credit;
	struct frame f;

	send_output(x, FRAME_STDOUT, FRAME_WINDOW);
	assert_int_equal(stream_grant(x->stream, FRAME_STDOUT, 100), 0);
	fakeguest_turn(&x->guest);
	assert_false(fakeguest_take(&x->guest, &f));
	assert_int_equal(stream_grant(x->stream, FRAME_STDOUT, FRAME_WINDOW - 100), 0);
	fakeguest_turn(&x->guest);
	f = fakeguest_expect(&x->guest, FRAME_CREDIT);
	assert_int_equal(f.id, x->id);
	assert_int_equal(f.channel, FRAME_STDOUT);
	assert_int_equal(message_decode(credit_fields, f.payload, f.length, &credit), 0);
	assert_int_equal(credit.bytes, FRAME_WINDOW);
	send_output(x, FRAME_STDOUT, FRAME_WINDOW);
	assert_int_equal(x->losses, 0);
}

static void stdin_goes_out_as_far_as_the_guest_has_room(void **state)
{
	static const uint8_t data[FRAME_DATA_MAX];
	struct fixture *x = *state;
	size_t sent = 0, n;

	while ((n = stream_room(x->stream)) > 0 && sent <= FRAME_WINDOW) {
		assert_int_equal(stream_send(x->stream, data, n), 0);
		sent += n;
		fakeguest_turn(&x->guest);
	}
	assert_int_equal(sent, FRAME_WINDOW);
	assert_int_equal(stream_send(x->stream, data, 1), -EAGAIN);
	x->rooms = 0;
	send_credit(x, FRAME_STDIN, 1000);
	assert_true(x->rooms > 0);
	assert_int_equal(stream_room(x->stream), 1000);
	for (size_t got = 0; got < sent;) {
		struct frame f = fakeguest_expect(&x->guest, FRAME_DATA);
		assert_int_equal(f.channel, FRAME_STDIN);
		got += f.length;
	}
}

static void stdin_ends_once(void **state)
{
	struct fixture *x = *state;
	struct frame f;

	assert_int_equal(stream_send(x->stream, NULL, 0), 0);
	assert_int_equal(stream_room(x->stream), 0);
	assert_int_equal(stream_send(x->stream, "x", 1), -EAGAIN);
	fakeguest_turn(&x->guest);
	assert_int_equal(fakeguest_expect(&x->guest, FRAME_DATA).length, 0);
	assert_false(fakeguest_take(&x->guest, &f));
}

static void nothing_can_be_sent_before_the_start(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(stream_room(x->stream), 0);
	assert_int_equal(stream_send(x->stream, "x", 1), -EAGAIN);
}

static void credit_beyond_the_window_ends_the_link(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(stream_send(x->stream, "12345", 5), 0);
	send_credit(x, FRAME_STDIN, 5);
	assert_int_equal(x->losses, 0);
	send_credit(x, FRAME_STDIN, 1);
	assert_lost(x, "more credit");
}

static void credit_on_another_channel_ends_the_link(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(stream_send(x->stream, "12345", 5), 0);
	send_credit(x, FRAME_STDOUT, 5);
	assert_lost(x, "credit");
}

static void exit_is_told_once_with_its_numbers(void **state)
{
	const struct exit_status status = {.exited = 1,
		.code = 3,
		.user_us = 1000000,
		.system_us = 20000,
		.max_rss_kib = 4096};
	struct fixture *x = *state;

	fakeguest_tell(&x->guest, FRAME_EXIT, x->id, 0, exit_status_fields, &status);
	assert_int_equal(x->exits, 1);
	assert_true(x->has_status);
	assert_int_equal(x->status.code, 3);
	assert_int_equal(x->status.user_us, 1000000);
	assert_int_equal(x->status.max_rss_kib, 4096);
	fakeguest_exit(&x->guest, x->id, 4);
	assert_int_equal(x->exits, 1);
	assert_int_equal(x->losses, 0);
}

static void exit_before_the_end_of_output_is_an_end(void **state)
{
	struct fixture *x = *state;

	send_output(x, FRAME_STDOUT, 5);
	fakeguest_exit(&x->guest, x->id, 0);
	assert_int_equal(x->exits, 1);
	send_output(x, FRAME_STDOUT, 5);
	assert_int_equal(x->output[FRAME_STDOUT].len, 5);
	assert_int_equal(x->losses, 0);
}

static void impossible_exit_status_ends_the_link(void **state)
{
	struct fixture *x = *state;

	fakeguest_exit(&x->guest, x->id, 256);
	assert_lost(x, "exit status");
	assert_int_equal(x->exits, 1);
	assert_false(x->has_status);
}

static void exit_before_the_start_ends_the_link(void **state)
{
	struct fixture *x = *state;

	fakeguest_exit(&x->guest, x->id, 0);
	assert_lost(x, "not started");
	assert_false(x->has_status);
}

static void lost_link_ends_all_streams_without_a_status(void **state)
{
	struct fixture *x = *state;
	struct stream *second AUTO(stream_freep) = NULL;

	assert_int_equal(exec_true(x, &second), 0);
	x->guest.fd = base_close(x->guest.fd);
	x->guest.gone = true;
	fakeguest_turn(&x->guest);
	assert_int_equal(x->exits, 2);
	assert_false(x->has_status);
	assert_int_equal(x->losses, 1);
	assert_int_equal(stream_send(x->stream, "x", 1), -EAGAIN);
}

static void freeing_a_running_stream_kills_its_group(void **state)
{
	struct signal_request request;
	struct fixture *x = *state;
	struct frame f;

	x->stream = stream_free(x->stream);
	fakeguest_turn(&x->guest);
	f = fakeguest_expect(&x->guest, FRAME_SIGNAL);
	assert_int_equal(message_decode(signal_request_fields, f.payload, f.length, &request), 0);
	assert_int_equal(request.signo, SIGKILL);
	assert_int_equal(request.group, 1);
	/* Its last words are not for anybody. */
	send_output(x, FRAME_STDOUT, 100);
	fakeguest_exit(&x->guest, x->id, 0);
	assert_int_equal(x->losses, 0);
	assert_int_equal(x->exits, 0);
}

static void freeing_a_starting_stream_forgets_its_answer(void **state)
{
	struct fixture *x = *state;

	x->stream = stream_free(x->stream);
	fakeguest_turn(&x->guest);
	fakeguest_expect(&x->guest, FRAME_SIGNAL);
	fakeguest_reply(&x->guest, x->id, 0, "");
	assert_int_equal(x->starts, 0);
	assert_int_equal(x->losses, 0);
}

static void signals_and_sizes_are_sent(void **state)
{
	struct signal_request request;
	struct resize size;
	struct fixture *x = *state;
	struct frame f;

	assert_int_equal(stream_signal(x->stream, SIGUSR1, false), 0);
	assert_int_equal(stream_resize(x->stream, 50, 132), 0);
	fakeguest_turn(&x->guest);
	f = fakeguest_expect(&x->guest, FRAME_SIGNAL);
	assert_int_equal(message_decode(signal_request_fields, f.payload, f.length, &request), 0);
	assert_int_equal(request.signo, SIGUSR1);
	assert_int_equal(request.group, 0);
	f = fakeguest_expect(&x->guest, FRAME_RESIZE);
	assert_int_equal(message_decode(resize_fields, f.payload, f.length, &size), 0);
	assert_int_equal(size.rows, 50);
	assert_int_equal(size.columns, 132);
}

static void streams_beyond_the_limit_are_refused(void **state)
{
	struct stream *streams[1000];
	struct fixture *x = *state;
	size_t n = 0;
	int r = 0;

	while (n < ARRAY_SIZE(streams) && (r = exec_true(x, &streams[n])) == 0)
		n++;
	assert_int_equal(r, -EBUSY);
	assert_true(n > 100);
	for (size_t i = 0; i < n; i++)
		stream_free(streams[i]);
	assert_int_equal(exec_true(x, &streams[0]), 0);
	stream_free(streams[0]);
}

#define ASKED(test)   cmocka_unit_test_setup_teardown(test, setup_asked, teardown)
#define RUNNING(test) cmocka_unit_test_setup_teardown(test, setup_running, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ASKED(failed_exec_is_told_with_its_step_and_nothing_follows),
		RUNNING(output_arrives_on_its_channel_with_its_end),
		ASKED(output_before_the_start_ends_the_link),
		RUNNING(output_after_its_end_ends_the_link),
		RUNNING(output_on_stdin_ends_the_link),
		RUNNING(window_may_be_used_whole_but_not_more),
		RUNNING(frame_of_output_above_its_limit_ends_the_link),
		RUNNING(granted_output_comes_back_as_credit_in_lumps),
		RUNNING(stdin_goes_out_as_far_as_the_guest_has_room),
		RUNNING(stdin_ends_once),
		ASKED(nothing_can_be_sent_before_the_start),
		RUNNING(credit_beyond_the_window_ends_the_link),
		RUNNING(credit_on_another_channel_ends_the_link),
		RUNNING(exit_is_told_once_with_its_numbers),
		RUNNING(exit_before_the_end_of_output_is_an_end),
		RUNNING(impossible_exit_status_ends_the_link),
		ASKED(exit_before_the_start_ends_the_link),
		RUNNING(lost_link_ends_all_streams_without_a_status),
		RUNNING(freeing_a_running_stream_kills_its_group),
		ASKED(freeing_a_starting_stream_forgets_its_answer),
		RUNNING(signals_and_sizes_are_sent),
		RUNNING(streams_beyond_the_limit_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
