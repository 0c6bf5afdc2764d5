#include "vm/agent.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/wire.h"
#include "vm/fakeguest.h"

/* An agent, the guest at its other end, and what the agent's owner was told. */
struct link {
	struct fakeguest guest;
	struct agent *agent;
	int hellos, losses;
	char reason[256];
	char kernel[64];
	int answers_when_lost;
};

/* What someone who asked was told. */
struct answer {
	int count;
	bool lost;
	uint32_t error;
	char body[16];
	struct link *link;
};

static void on_hello(const struct hello_guest *hello, void *userdata)
{
	struct link *l = userdata;

	l->hellos++;
	snprintf(l->kernel, sizeof(l->kernel), "%s", hello->kernel);
}

static void on_lost(const char *reason, void *userdata)
{
	struct link *l = userdata;

	l->losses++;
	snprintf(l->reason, sizeof(l->reason), "%s", reason);
}

static void on_answer(const struct reply *reply, void *userdata)
{
	struct answer *a = userdata;

	a->count++;
	a->lost = reply == NULL;
	if (a->link && a->link->losses == 0)
		a->link->answers_when_lost++;
	if (!reply)
		return;
	a->error = reply->error;
	assert_true(reply->body.length < sizeof(a->body));
	memcpy(a->body, reply->body.data, reply->body.length);
}

static int link_setup(void **state)
{
	static const struct agent_callbacks callbacks = {on_hello, on_lost};
	struct link *l = calloc(1, sizeof(*l));
	int fd = fakeguest_start(&l->guest);

	assert_int_equal(agent_open(l->guest.event, fd, &callbacks, l, &l->agent), 0);
	*state = l;
	return 0;
}

static int link_setup_greeted(void **state)
{
	struct link *l;

	link_setup(state);
	l = *state;
	fakeguest_greet(&l->guest);
	return 0;
}

static int link_teardown(void **state)
{
	struct link *l = *state;

	agent_free(l->agent);
	fakeguest_stop(&l->guest);
	free(l);
	return 0;
}

static void assert_lost(const struct link *l, const char *because)
{
	assert_int_equal(l->losses, 1);
	if (!strstr(l->reason, because))
		fail_msg("'%s' does not say '%s'", l->reason, because);
}

static struct hello_guest good_hello(void)
{
	return (struct hello_guest){.magic = MESSAGE_MAGIC,
		.version_min = 1,
		.version_max = MESSAGE_VERSION,
		.kernel = "6.1.0-test"};
}

static void hello_is_answered_with_our_version(void **state)
{
	struct link *l = *state;
	struct hello_guest hello = good_hello();
	struct hello_host answer;
	struct frame f;

	fakeguest_tell(&l->guest, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
	assert_int_equal(l->hellos, 1);
	assert_string_equal(l->kernel, "6.1.0-test");
	f = fakeguest_expect(&l->guest, FRAME_HELLO);
	assert_int_equal(message_decode(hello_host_fields, f.payload, f.length, &answer), 0);
	assert_int_equal(answer.magic, MESSAGE_MAGIC);
	assert_int_equal(answer.version, MESSAGE_VERSION);
	assert_int_equal(l->losses, 0);
}

static void hello_may_arrive_byte_by_byte(void **state)
{
	struct buffer bytes AUTO(buffer_done) = {0};
	struct hello_guest hello = good_hello();
	struct link *l = *state;

	assert_int_equal(
		message_append_frame(&bytes, FRAME_HELLO, 0, 0, hello_guest_fields, &hello), 0);
	for (size_t i = 0; i < bytes.len; i++) {
		assert_int_equal(l->hellos, 0);
		fakeguest_send_bytes(&l->guest, buffer_head(&bytes) + i, 1);
	}
	assert_int_equal(l->hellos, 1);
}

static void hello_of_another_version_says_what_to_do(void **state)
{
	struct hello_guest hello = good_hello();
	struct link *l = *state;

	hello.version_min = hello.version_max = MESSAGE_VERSION + 1;
	fakeguest_tell(&l->guest, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
	assert_lost(l, "build or import the image again");
	assert_int_equal(l->hellos, 0);
}

static void hello_of_an_older_version_ends_the_link(void **state)
{
	struct hello_guest hello = good_hello();
	struct link *l = *state;

	hello.version_min = hello.version_max = MESSAGE_VERSION - 1;
	fakeguest_tell(&l->guest, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
	assert_lost(l, "version");
}

static void hello_without_the_magic_ends_the_link(void **state)
{
	struct hello_guest hello = good_hello();
	struct link *l = *state;

	hello.magic ^= 1;
	fakeguest_tell(&l->guest, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
	assert_lost(l, "hello");
	assert_int_equal(l->hellos, 0);
}

static void truncated_hello_ends_the_link(void **state)
{
	struct link *l = *state;

	fakeguest_send(&l->guest, FRAME_HELLO, 0, 0, "WNDS", 3);
	assert_lost(l, "hello");
	assert_int_equal(l->hellos, 0);
}

static void second_hello_ends_the_link(void **state)
{
	struct hello_guest hello = good_hello();
	struct link *l = *state;

	fakeguest_tell(&l->guest, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
	assert_lost(l, "second hello");
	assert_int_equal(l->hellos, 1);
}

static void frame_before_the_hello_ends_the_link(void **state)
{
	struct answer a = {0};
	struct link *l = *state;
	int64_t id = agent_call(l->agent, FRAME_PROBE, NULL, NULL, on_answer, &a);

	assert_true(id > 0);
	fakeguest_reply(&l->guest, (uint32_t)id, 0, "");
	assert_lost(l, "before the hello");
	assert_int_equal(a.count, 1);
	assert_true(a.lost);
}

static void impossible_length_ends_the_link(void **state)
{
	uint8_t header[FRAME_HEADER_SIZE];
	struct link *l = *state;

	frame_write_header(header, FRAME_DATA, 1, FRAME_STDOUT, FRAME_HOST_ACCEPTS_MAX + 1);
	fakeguest_send_bytes(&l->guest, header, sizeof(header));
	assert_lost(l, "impossible frame");
}

/* One state for each type would be much: the link is made anew for each. */
static void frames_that_only_the_host_may_send_end_the_link(void **state)
{
	static const enum frame_type types[] = {FRAME_IDENTITY, FRAME_ACCOUNT, FRAME_MOUNT,
		FRAME_NETWORK, FRAME_FILE_WRITE, FRAME_FILE_READ, FRAME_STATISTICS, FRAME_PROBE,
		FRAME_CLOCK, FRAME_SHUTDOWN, FRAME_EXEC, FRAME_SIGNAL, FRAME_RESIZE};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		void *fresh = NULL;
		struct link *l;

		link_setup_greeted(&fresh);
		l = fresh;
		fakeguest_send(&l->guest, types[i], 1, 0, "\0\0\0\0\0\0\0\0", 8);
		assert_lost(l, "only the host");
		link_teardown(&fresh);
	}
}

static void answers_reach_who_asked_in_any_order(void **state)
{
	struct answer first = {0}, second = {0};
	struct link *l = *state;
	int64_t one = agent_call(l->agent, FRAME_PROBE, NULL, NULL, on_answer, &first);
	int64_t two = agent_call(l->agent, FRAME_STATISTICS, NULL, NULL, on_answer, &second);
	struct reply reply = {.body = {(const uint8_t *)"two", 4}};

	fakeguest_turn(&l->guest);
	assert_int_equal(fakeguest_expect(&l->guest, FRAME_PROBE).id, one);
	assert_int_equal(fakeguest_expect(&l->guest, FRAME_STATISTICS).id, two);
	fakeguest_tell(&l->guest, FRAME_REPLY, (uint32_t)two, 0, reply_fields, &reply);
	assert_int_equal(first.count, 0);
	assert_int_equal(second.count, 1);
	assert_string_equal(second.body, "two");
	fakeguest_reply(&l->guest, (uint32_t)one, ENODEV, "no such thing");
	assert_int_equal(first.count, 1);
	assert_int_equal(first.error, ENODEV);
	assert_int_equal(l->losses, 0);
}

static void answer_that_nobody_asked_for_ends_the_link(void **state)
{
	struct link *l = *state;

	fakeguest_reply(&l->guest, 7, 0, "");
	assert_lost(l, "not asked");
}

static void second_answer_ends_the_link(void **state)
{
	struct answer a = {0};
	struct link *l = *state;
	int64_t id = agent_call(l->agent, FRAME_PROBE, NULL, NULL, on_answer, &a);

	fakeguest_reply(&l->guest, (uint32_t)id, 0, "");
	fakeguest_reply(&l->guest, (uint32_t)id, 0, "");
	assert_lost(l, "not asked");
	assert_int_equal(a.count, 1);
	assert_false(a.lost);
}

static void unreadable_answer_ends_the_link_and_is_none(void **state)
{
	struct answer a = {0};
	struct link *l = *state;
	int64_t id = agent_call(l->agent, FRAME_PROBE, NULL, NULL, on_answer, &a);

	fakeguest_send(&l->guest, FRAME_REPLY, (uint32_t)id, 0, "\0\0\0\0\xff\xff\xff\xff", 8);
	assert_lost(l, "cannot be read");
	assert_int_equal(a.count, 1);
	assert_true(a.lost);
}

static void cancelled_call_is_not_answered(void **state)
{
	struct answer a = {0};
	struct link *l = *state;
	int64_t id = agent_call(l->agent, FRAME_PROBE, NULL, NULL, on_answer, &a);

	agent_cancel_call(l->agent, (uint32_t)id);
	fakeguest_reply(&l->guest, (uint32_t)id, 0, "");
	assert_int_equal(a.count, 0);
	assert_int_equal(l->losses, 0);
}

static void lost_link_answers_all_calls_before_its_owner_is_told(void **state)
{
	struct answer answers[3] = {0};
	struct link *l = *state;

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		answers[i].link = l;
		agent_call(l->agent, FRAME_PROBE, NULL, NULL, on_answer, &answers[i]);
	}
	fakeguest_turn(&l->guest);
	l->guest.fd = base_close(l->guest.fd);
	l->guest.gone = true;
	fakeguest_turn(&l->guest);
	assert_lost(l, "closed");
	assert_int_equal(l->answers_when_lost, 3);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		assert_int_equal(answers[i].count, 1);
		assert_true(answers[i].lost);
	}
}

static void lost_link_takes_nothing_more(void **state)
{
	struct answer a = {0};
	struct link *l = *state;

	fakeguest_send(&l->guest, FRAME_EXEC, 1, 0, NULL, 0);
	assert_int_equal(l->losses, 1);
	assert_int_equal(agent_call(l->agent, FRAME_PROBE, NULL, NULL, on_answer, &a), -ENOTCONN);
	assert_int_equal(agent_send(l->agent, FRAME_DATA, 1, 0, "x", 1), -ENOTCONN);
	assert_int_equal(agent_room(l->agent), 0);
	assert_int_equal(a.count, 0);
}

static void call_longer_than_the_guest_accepts_is_not_sent(void **state)
{
	autofree char *text = malloc(FRAME_GUEST_ACCEPTS_MAX + 1);
	const struct file_write message = {.path = text};
	struct answer a = {0};
	struct link *l = *state;
	struct frame f;

	memset(text, 'x', FRAME_GUEST_ACCEPTS_MAX);
	text[FRAME_GUEST_ACCEPTS_MAX] = '\0';
	assert_int_equal(
		agent_call(l->agent, FRAME_FILE_WRITE, file_write_fields, &message, on_answer, &a),
		-E2BIG);
	fakeguest_turn(&l->guest);
	assert_false(fakeguest_take(&l->guest, &f));
	assert_int_equal(a.count, 0);
	assert_int_equal(l->losses, 0);
}

static void room_shrinks_with_what_the_guest_has_not_taken(void **state)
{
	static const uint8_t data[FRAME_DATA_MAX];
	struct link *l = *state;
	size_t whole = agent_room(l->agent);

	assert_true(whole >= FRAME_WINDOW);
	l->guest.deaf = true;
	for (int i = 0; i < 100 && agent_room(l->agent) > 0; i++) {
		assert_int_equal(
			agent_send(l->agent, FRAME_DATA, 1, FRAME_STDIN, data, sizeof(data)), 0);
		fakeguest_turn(&l->guest);
	}
	assert_int_equal(agent_room(l->agent), 0);
	l->guest.deaf = false;
	fakeguest_turn(&l->guest);
	assert_int_equal(agent_room(l->agent), whole);
}

/* Each piece of its output is answered by credit, which it never takes. */
static void guest_that_never_reads_loses_its_link(void **state)
{
	uint8_t credit[4] = {0};
	struct link *l = *state;

	l->guest.deaf = true;
	for (int i = 0; i < 4 * 1024 * 1024 && agent_send(l->agent, FRAME_CREDIT, 1, FRAME_STDOUT,
						       credit, sizeof(credit)) == 0;
		i++)
		if (i % 65536 == 0)
			fakeguest_send(&l->guest, FRAME_DATA, 1, FRAME_STDOUT, "x", 1);
	assert_lost(l, "does not read");
}

static void traffic_of_streams_is_counted(void **state)
{
	struct link *l = *state;
	uint64_t to, from;

	agent_send(l->agent, FRAME_DATA, 1, FRAME_STDIN, "12345", 5);
	agent_send(l->agent, FRAME_RESIZE, 1, 0, "12345678", 8);
	fakeguest_send(&l->guest, FRAME_DATA, 1, FRAME_STDOUT, "123", 3);
	fakeguest_send(&l->guest, FRAME_DATA, 1, FRAME_STDOUT, "1234", 4);
	agent_get_traffic(l->agent, &to, &from);
	assert_int_equal(to, 5);
	assert_int_equal(from, 7);
}

#define FRESH(test)   cmocka_unit_test_setup_teardown(test, link_setup, link_teardown)
#define GREETED(test) cmocka_unit_test_setup_teardown(test, link_setup_greeted, link_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH(hello_is_answered_with_our_version),
		FRESH(hello_may_arrive_byte_by_byte),
		FRESH(hello_of_another_version_says_what_to_do),
		FRESH(hello_of_an_older_version_ends_the_link),
		FRESH(hello_without_the_magic_ends_the_link),
		FRESH(truncated_hello_ends_the_link),
		GREETED(second_hello_ends_the_link),
		FRESH(frame_before_the_hello_ends_the_link),
		GREETED(impossible_length_ends_the_link),
		cmocka_unit_test(frames_that_only_the_host_may_send_end_the_link),
		GREETED(answers_reach_who_asked_in_any_order),
		GREETED(answer_that_nobody_asked_for_ends_the_link),
		GREETED(second_answer_ends_the_link),
		GREETED(unreadable_answer_ends_the_link_and_is_none),
		GREETED(cancelled_call_is_not_answered),
		GREETED(lost_link_answers_all_calls_before_its_owner_is_told),
		GREETED(lost_link_takes_nothing_more),
		GREETED(call_longer_than_the_guest_accepts_is_not_sent),
		GREETED(room_shrinks_with_what_the_guest_has_not_taken),
		GREETED(guest_that_never_reads_loses_its_link),
		GREETED(traffic_of_streams_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
