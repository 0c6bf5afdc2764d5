/* Flow control, terminals, and several streams at once, as a host sees them. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include "guest/host_test.h"
#include "guest/now.h"
#include "guest/pollset.h"

/* After our own headers: it defines a macro of the name fail. */
#include <cmocka.h>

#define SOON_MS   5000
#define QUIET_MS  200
#define BULK_SIZE (8 * 1024 * 1024)
#define PIPE_SIZE (1024 * 1024)

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
	return r == -EPIPE || r == -EPROTO ? 0 : -1;
}

static const char *text(const struct buffer *b)
{
	return (const char *)buffer_head(b);
}

static void stream_start(
	struct host *h, uint32_t id, const char *script, uint32_t flags, struct exec_request *ret)
{
	const char *const argv[4] = {"sh", "-c", script, NULL};

	*ret = host_shell(argv);
	ret->flags = flags;
	ret->rows = 33;
	ret->columns = 111;
	host_exec(h, id, ret);
}

/* A host that sends `data` to the stream and collects what comes back, both within credit. */
struct pump {
	const uint8_t *data;
	size_t size, sent;
	uint32_t credit;
	struct buffer back;
	bool ended;
};

static void pump_send(struct pump *p, struct host *h, uint32_t id)
{
	while (p->sent < p->size && p->credit >= FRAME_DATA_MAX) {
		size_t n = MIN_OF(p->size - p->sent, (size_t)FRAME_DATA_MAX);

		host_send_data(h, id, p->data + p->sent, n);
		p->sent += n;
		p->credit -= (uint32_t)n;
		if (p->sent == p->size)
			host_send_data(h, id, NULL, 0);
	}
}

static void pump_on_frame(struct pump *p, struct host *h, const struct frame *f)
{
	struct credit credit;

	if (f->type == FRAME_DATA && f->length > 0) {
		assert_int_equal(buffer_append(&p->back, f->payload, f->length), 0);
		host_send_credit(h, f->id, f->channel, f->length);
	} else if (f->type == FRAME_CREDIT) {
		assert_int_equal(f->channel, FRAME_STDIN);
		assert_int_equal(message_decode(credit_fields, f->payload, f->length, &credit), 0);
		p->credit += credit.bytes;
		assert_true(p->credit <= FRAME_WINDOW);
	}
	p->ended |= f->type == FRAME_EXIT;
}

static void pump_run(struct pump *p, struct host *h, uint32_t id)
{
	struct frame f;

	p->credit = FRAME_WINDOW;
	while (!p->ended) {
		pump_send(p, h, id);
		assert_true(host_recv(h, &f, SOON_MS));
		pump_on_frame(p, h, &f);
	}
}

static uint8_t *bulk_make(void)
{
	uint8_t *data = malloc(BULK_SIZE);

	srandom(1);
	for (size_t i = 0; i < BULK_SIZE; i++)
		data[i] = (uint8_t)random();
	return data;
}

static void test_binary_data_passes_unchanged_both_ways(void **state)
{
	uint8_t *data autofree = bulk_make();
	struct pump p = {.data = data, .size = BULK_SIZE};
	struct exec_request request;

	stream_start(*state, 1, "exec cat", EXEC_STDIN, &request);
	pump_run(&p, *state, 1);
	assert_int_equal(p.back.len, BULK_SIZE);
	assert_memory_equal(buffer_head(&p.back), data, BULK_SIZE);
	buffer_done(&p.back);
}

/* Receives data of stream `id` until nothing comes for a moment; returns the bytes. */
static size_t receive_until_quiet(struct host *h, uint32_t id)
{
	struct frame f;
	size_t n = 0;

	while (host_recv(h, &f, QUIET_MS)) {
		assert_int_equal(f.id, id);
		if (f.type == FRAME_DATA)
			n += f.length;
	}
	return n;
}

static void test_guest_never_sends_more_than_was_granted(void **state)
{
	struct exec_request request;

	stream_start(*state, 1, "exec cat /dev/zero", 0, &request);
	assert_int_equal(receive_until_quiet(*state, 1), FRAME_WINDOW);
	host_send_credit(*state, 1, FRAME_STDOUT, 1000);
	assert_int_equal(receive_until_quiet(*state, 1), 1000);
	/* Credit is of one channel only. */
	host_send_credit(*state, 1, FRAME_STDERR, 1000);
	assert_int_equal(receive_until_quiet(*state, 1), 0);
	host_send_credit(*state, 1, FRAME_STDOUT, FRAME_WINDOW + 1);
	assert_int_equal(receive_until_quiet(*state, 1), FRAME_WINDOW + 1);
}

static void test_blocked_streams_do_not_hold_others(void **state)
{
	uint8_t *data autofree = bulk_make();
	struct exec_request request;
	struct host *h = *state;
	struct result r;
	struct frame f;

	/* One writes without being granted anything, one does not read its stdin. */
	stream_start(h, 101, "exec cat /dev/zero", 0, &request);
	stream_start(h, 102, "exec sleep 1000", EXEC_STDIN, &request);
	for (size_t i = 0; i < FRAME_WINDOW; i += FRAME_DATA_MAX)
		host_send_data(h, 102, data, FRAME_DATA_MAX);
	while (host_recv(h, &f, QUIET_MS))
		;
	host_run(h, "cat; echo end", "through\n", &r);
	assert_string_equal(text(&r.out), "through\nend\n");
	result_done(&r);
}

static void test_flooding_stream_does_not_starve_another(void **state)
{
	struct exec_request request;
	struct host *h = *state;
	uint64_t flood = 0;
	bool ended = false;
	struct frame f;

	stream_start(h, 1, "exec cat /dev/zero", 0, &request);
	stream_start(h, 2, "for i in 1 2 3 4 5; do echo $i; sleep 0.05; done", 0, &request);
	while (!ended) {
		assert_true(host_recv(h, &f, SOON_MS));
		if (f.type == FRAME_DATA && f.id == 1) {
			flood += f.length;
			host_send_credit(h, 1, FRAME_STDOUT, f.length);
		}
		ended = f.type == FRAME_EXIT && f.id == 2;
	}
	assert_true(flood > FRAME_WINDOW);
}

static void test_more_stdin_than_granted_ends_the_link(void **state)
{
	struct exec_request request;
	uint8_t *data autofree = bulk_make();

	stream_start(*state, 1, "exec sleep 1000", EXEC_STDIN, &request);
	/* A pipe takes up to 1 MiB by itself, for which there is new credit. */
	for (size_t i = 0; i <= PIPE_SIZE + FRAME_WINDOW; i += FRAME_DATA_MAX)
		host_send_data(*state, 1, data, FRAME_DATA_MAX);
	assert_true(host_is_gone(*state));
}

static void test_stdin_that_was_not_asked_for_ends_the_link(void **state)
{
	struct exec_request request;

	stream_start(*state, 1, "exec sleep 1000", 0, &request);
	host_send_data(*state, 1, "x", 1);
	assert_true(host_is_gone(*state));
}

static void test_data_on_an_output_channel_ends_the_link(void **state)
{
	struct exec_request request;
	struct buffer out AUTO(buffer_done) = {0};

	stream_start(*state, 1, "exec sleep 1000", 0, &request);
	assert_int_equal(frame_append(&out, FRAME_DATA, 1, FRAME_STDOUT, "x", 1), 0);
	host_write(*state, buffer_head(&out), out.len);
	assert_true(host_is_gone(*state));
}

static void test_credit_that_overflows_ends_the_link(void **state)
{
	struct exec_request request;

	stream_start(*state, 1, "exec sleep 1000", 0, &request);
	host_send_credit(*state, 1, FRAME_STDOUT, UINT32_MAX);
	assert_true(host_is_gone(*state));
}

static void test_second_use_of_an_id_is_refused(void **state)
{
	struct exec_request request;
	struct reply reply;
	struct frame f;

	stream_start(*state, 1, "exec sleep 1000", 0, &request);
	assert_true(host_recv(*state, &f, SOON_MS));
	stream_start(*state, 1, "echo second", 0, &request);
	assert_true(host_recv(*state, &f, SOON_MS));
	assert_int_equal(message_decode(reply_fields, f.payload, f.length, &reply), 0);
	assert_int_equal(reply.error, EEXIST);
}

/* As with a pipe to a command that has closed its stdin: nobody waits, nobody dies. */
static void test_closed_stdin_takes_all_data(void **state)
{
	uint8_t *data autofree = bulk_make();
	struct pump p = {.data = data, .size = BULK_SIZE};
	struct exec_request request;

	stream_start(*state, 1, "exec <&-; sleep 1; echo alive", EXEC_STDIN, &request);
	pump_run(&p, *state, 1);
	assert_int_equal(p.sent, BULK_SIZE);
	assert_int_equal(buffer_append(&p.back, "", 1), 0);
	assert_string_equal(text(&p.back), "alive\n");
	buffer_done(&p.back);
}

static void test_stdin_sent_ahead_of_the_reply_arrives(void **state)
{
	struct result r;

	host_run(*state, "sleep 0.2; cat", "early", &r);
	assert_string_equal(text(&r.out), "early");
	result_done(&r);
}

static void test_terminal_has_the_given_size_and_is_controlling(void **state)
{
	struct exec_request request;
	struct result r = {0};

	stream_start(*state, 1, "stty size; echo both >&2; : < /dev/tty && echo tty", EXEC_TTY,
		&request);
	host_collect(*state, 1, &r);
	assert_string_equal(text(&r.out), "33 111\r\nboth\r\ntty\r\n");
	assert_string_equal(text(&r.err), "");
	result_done(&r);
}

static void test_resize_reaches_the_process(void **state)
{
	struct resize size = {50, 60};
	struct exec_request request;
	struct result r = {0};
	struct frame f;

	stream_start(*state, 1,
		"trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.02; done",
		EXEC_TTY, &request);
	do
		assert_true(host_recv(*state, &f, SOON_MS));
	while (f.type != FRAME_DATA);
	host_send(*state, FRAME_RESIZE, 1, 0, resize_fields, &size);
	host_collect(*state, 1, &r);
	assert_string_equal(text(&r.out), "50 60\r\n");
	assert_int_equal(r.status.code, 3);
	result_done(&r);
}

static void test_end_of_stdin_on_a_terminal_is_end_of_file(void **state)
{
	struct exec_request request;
	struct result r = {0};

	stream_start(*state, 1, "stty -echo; echo ready; cat; echo end", EXEC_TTY | EXEC_STDIN,
		&request);
	host_send_data(*state, 1, "line\n", 5);
	host_send_data(*state, 1, NULL, 0);
	host_collect(*state, 1, &r);
	assert_non_null(strstr(text(&r.out), "line\r\nend\r\n"));
	result_done(&r);
}

/* Sends `input` and end of file at once, and returns what the script made of it. */
static void terminal_run(struct host *h, const char *script, const char *input, struct result *ret)
{
	struct exec_request request;

	*ret = (struct result){0};
	stream_start(h, 1, script, EXEC_TTY | EXEC_STDIN, &request);
	if (input[0])
		host_send_data(h, 1, input, strlen(input));
	host_send_data(h, 1, NULL, 0);
	host_collect(h, 1, ret);
}

static void test_empty_stdin_on_a_terminal_is_end_of_file(void **state)
{
	struct result r;

	terminal_run(*state, "exec cat", "", &r);
	assert_int_equal(r.status.exited, 1);
	assert_int_equal(r.status.code, 0);
	result_done(&r);
}

static void test_end_of_stdin_in_mid_line_on_a_terminal_is_end_of_file(void **state)
{
	struct result r;

	terminal_run(*state, "stty -echo; cat", "no newline", &r);
	assert_int_equal(r.status.exited, 1);
	assert_int_equal(r.status.code, 0);
	assert_non_null(strstr(text(&r.out), "no newline"));
	result_done(&r);
}

static void test_interrupt_character_reaches_the_foreground(void **state)
{
	struct exec_request request;
	struct result r = {0};
	struct frame f;

	stream_start(*state, 1, "trap 'echo caught; exit 4' INT; echo ready; sleep 1000 & wait",
		EXEC_TTY | EXEC_STDIN, &request);
	do
		assert_true(host_recv(*state, &f, SOON_MS));
	while (f.type != FRAME_DATA);
	host_send_data(*state, 1, "\003", 1);
	host_collect(*state, 1, &r);
	assert_non_null(strstr(text(&r.out), "caught"));
	assert_int_equal(r.status.code, 4);
	result_done(&r);
}

static void test_streams_have_a_limit(void **state)
{
	struct exec_request request;
	struct reply reply = {0};
	struct frame f;

	for (uint32_t id = 1; id <= STREAMS_MAX + 1; id++)
		stream_start(*state, id, "exec sleep 1000", 0, &request);
	do {
		assert_true(host_recv(*state, &f, SOON_MS));
		assert_int_equal(f.type, FRAME_REPLY);
		assert_int_equal(message_decode(reply_fields, f.payload, f.length, &reply), 0);
	} while (reply.error == 0);
	assert_int_equal(f.id, STREAMS_MAX + 1);
	assert_int_equal(reply.error, EAGAIN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_binary_data_passes_unchanged_both_ways),
		TEST(test_guest_never_sends_more_than_was_granted),
		TEST(test_blocked_streams_do_not_hold_others),
		TEST(test_flooding_stream_does_not_starve_another),
		TEST(test_more_stdin_than_granted_ends_the_link),
		TEST(test_stdin_that_was_not_asked_for_ends_the_link),
		TEST(test_data_on_an_output_channel_ends_the_link),
		TEST(test_credit_that_overflows_ends_the_link),
		TEST(test_second_use_of_an_id_is_refused),
		TEST(test_closed_stdin_takes_all_data),
		TEST(test_stdin_sent_ahead_of_the_reply_arrives),
		TEST(test_terminal_has_the_given_size_and_is_controlling),
		TEST(test_resize_reaches_the_process),
		TEST(test_end_of_stdin_on_a_terminal_is_end_of_file),
		TEST(test_empty_stdin_on_a_terminal_is_end_of_file),
		TEST(test_end_of_stdin_in_mid_line_on_a_terminal_is_end_of_file),
		TEST(test_interrupt_character_reaches_the_foreground),
		TEST(test_streams_have_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
