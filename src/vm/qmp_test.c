#include "vm/qmp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/base.h"

#include <cmocka.h>

#define GREETING                                                                           \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, " \
	"\"package\": \"Debian\"}, \"capabilities\": [\"oob\"]}}"

/* A connection, QEMU's end of it, and what its owner was told. */
struct fixture {
	sd_event *event;
	struct qmp *qmp;
	int fd;
	int readies, closes, error, events;
	struct qmp_version version;
	char last_event[64];
	bool nospace;
};

struct answer {
	int count;
	json_int_t number;
	char error[128];
};

static int parse(const char *text, struct qmp_line *ret)
{
	return qmp_parse(text, strlen(text), ret);
}

static void greeting_gives_the_version(void **state)
{
	struct qmp_line line;

	assert_int_equal(parse(GREETING, &line), 0);
	assert_int_equal(line.kind, QMP_GREETING);
	assert_int_equal(line.version.major, 7);
	assert_int_equal(line.version.minor, 2);
	assert_int_equal(line.version.micro, 22);
	json_decref(line.root);
}

static void event_gives_its_name_and_data(void **state)
{
	struct qmp_line line;

	assert_int_equal(parse("{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}, "
			       "\"timestamp\": {\"seconds\": 1}}",
				 &line),
		0);
	assert_int_equal(line.kind, QMP_EVENT);
	assert_string_equal(line.event, "SHUTDOWN");
	assert_true(json_is_true(json_object_get(line.data, "guest")));
	json_decref(line.root);
	assert_int_equal(parse("{\"event\": \"STOP\"}", &line), 0);
	assert_null(line.data);
	json_decref(line.root);
}

static void answers_give_their_id(void **state)
{
	struct qmp_line line;

	assert_int_equal(parse("{\"return\": {\"a\": 1}, \"id\": 17}", &line), 0);
	assert_int_equal(line.kind, QMP_RETURN);
	assert_int_equal(line.id, 17);
	assert_int_equal(json_integer_value(json_object_get(line.data, "a")), 1);
	json_decref(line.root);
	assert_int_equal(parse("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, "
			       "\"id\": 18}",
				 &line),
		0);
	assert_int_equal(line.kind, QMP_ERROR);
	assert_int_equal(line.id, 18);
	assert_string_equal(line.error, "no");
	json_decref(line.root);
}

static void what_is_not_qmp_is_refused(void **state)
{
	static const char *const texts[] = {"", "x", "{", "[]", "5", "\"QMP\"", "{}", "null",
		"{\"id\": 1}", "{\"QMP\": 1}", "{\"QMP\": {\"version\": {}}}",
		"{\"QMP\": {\"version\": {\"qemu\": {\"major\": \"7\"}}}}", "{\"event\": 5}",
		"{\"return\": 1, \"return\": 2}", "{\"return\": \"\xff\xfe\"}",
		"{\"return\": {}} x"};
	struct qmp_line line;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (parse(texts[i], &line) != -EPROTO)
			fail_msg("taken for QMP: %s", texts[i]);
}

/* Deep nesting must not use up the stack. */
static void deep_nesting_is_refused(void **state)
{
	size_t n = 1000000;
	autofree char *text = malloc(n);
	struct qmp_line line;

	memset(text, '[', n);
	assert_int_equal(qmp_parse(text, n, &line), -EPROTO);
}

static void on_ready(const struct qmp_version *version, void *userdata)
{
	struct fixture *x = userdata;

	x->readies++;
	x->version = *version;
}

static void on_event(const char *name, json_t *data, void *userdata)
{
	struct fixture *x = userdata;

	x->events++;
	x->nospace = json_is_true(json_object_get(data, "nospace"));
	snprintf(x->last_event, sizeof(x->last_event), "%s", name);
}

static void on_closed(int error, void *userdata)
{
	struct fixture *x = userdata;

	x->closes++;
	x->error = error;
}

static void on_answer(json_t *result, const char *error, void *userdata)
{
	struct answer *a = userdata;

	a->count++;
	a->number = json_integer_value(result);
	snprintf(a->error, sizeof(a->error), "%s", error ? error : "");
}

static int setup(void **state)
{
	static const struct qmp_callbacks callbacks = {on_ready, on_event, on_closed};
	struct fixture *x = calloc(1, sizeof(*x));
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(sd_event_new(&x->event) >= 0);
	assert_int_equal(qmp_open(x->event, pair[0], &callbacks, x, &x->qmp), 0);
	x->fd = pair[1];
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	qmp_free(x->qmp);
	base_close(x->fd);
	sd_event_unref(x->event);
	free(x);
	return 0;
}

static void turn(struct fixture *x)
{
	while (sd_event_run(x->event, 0) > 0)
		continue;
}

static void qemu_sends(struct fixture *x, const char *text)
{
	assert_int_equal(send(x->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	turn(x);
}

static void assert_qemu_got(struct fixture *x, const char *expected)
{
	char text[1024];
	ssize_t n = recv(x->fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[MAX_OF(n, 0)] = '\0';
	assert_string_equal(text, expected);
}

static void negotiation_ends_in_ready(void **state)
{
	struct fixture *x = *state;

	qemu_sends(x, GREETING "\r\n");
	assert_qemu_got(x, "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
	assert_int_equal(x->readies, 0);
	qemu_sends(x, "{\"return\": {}, \"id\": 1}\r\n");
	assert_int_equal(x->readies, 1);
	assert_int_equal(x->version.major, 7);
	assert_int_equal(x->closes, 0);
}

static void lines_may_arrive_byte_by_byte_and_together(void **state)
{
	static const char text[] = GREETING "\r\n{\"return\": {}, \"id\": 1}\r\n";
	struct fixture *x = *state;

	for (size_t i = 0; i + 1 < sizeof(text); i++)
		qemu_sends(x, (const char[]){text[i], '\0'});
	assert_int_equal(x->readies, 1);
	qemu_sends(x, "{\"event\": \"A\"}\r\n{\"event\": \"B\"}\n\n{\"event\": \"C\"}\r\n{\"ev");
	assert_int_equal(x->events, 3);
	assert_string_equal(x->last_event, "C");
	qemu_sends(x, "ent\": \"D\"}\n");
	assert_string_equal(x->last_event, "D");
}

static void answers_reach_who_asked(void **state)
{
	struct answer one = {0}, two = {0};
	struct fixture *x = *state;

	assert_true(qmp_execute(x->qmp, "one", NULL, on_answer, &one) >= 0);
	assert_true(
		qmp_execute(x->qmp, "two", json_pack("{s:s}", "k", "v\"\n"), on_answer, &two) >= 0);
	assert_qemu_got(x, "{\"execute\":\"one\",\"id\":1}\n"
			   "{\"execute\":\"two\",\"id\":2,\"arguments\":{\"k\":\"v\\\"\\n\"}}\n");
	qemu_sends(x, "{\"return\": 22, \"id\": 2}\n");
	assert_int_equal(one.count, 0);
	assert_int_equal(two.count, 1);
	assert_int_equal(two.number, 22);
	qemu_sends(x, "{\"error\": {\"desc\": \"not now\"}, \"id\": 1}\n");
	assert_int_equal(one.count, 1);
	assert_string_equal(one.error, "not now");
}

static void answer_without_a_question_is_ignored(void **state)
{
	struct answer a = {0};
	struct fixture *x = *state;

	qmp_execute(x->qmp, "one", NULL, on_answer, &a);
	qemu_sends(x, "{\"return\": 1, \"id\": 99}\n{\"return\": 1}\n{\"error\": 5, \"id\": -1}\n");
	assert_int_equal(a.count, 0);
	assert_int_equal(x->closes, 0);
}

static void events_carry_their_data(void **state)
{
	struct fixture *x = *state;

	qemu_sends(x, "{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"nospace\": true}}\n");
	assert_string_equal(x->last_event, "BLOCK_IO_ERROR");
	assert_true(x->nospace);
}

static void garbage_closes_the_connection(void **state)
{
	struct answer a = {0};
	struct fixture *x = *state;

	qmp_execute(x->qmp, "one", NULL, on_answer, &a);
	qemu_sends(x, "qemu: hello\n");
	assert_int_equal(x->closes, 1);
	assert_int_equal(x->error, -EPROTO);
	assert_int_equal(a.count, 1);
	assert_string_equal(a.error, "QEMU is gone");
	assert_int_equal(qmp_execute(x->qmp, "two", NULL, on_answer, &a), -ENOTCONN);
	assert_int_equal(a.count, 1);
}

static void endless_line_closes_the_connection(void **state)
{
	struct fixture *x = *state;
	char text[4096];

	memset(text, ' ', sizeof(text));
	for (int i = 0; i < 1024 && x->closes == 0; i++) {
		if (send(x->fd, text, sizeof(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		turn(x);
	}
	assert_int_equal(x->closes, 1);
	assert_int_equal(x->error, -EPROTO);
}

static void end_of_file_is_told_once(void **state)
{
	struct answer a = {0};
	struct fixture *x = *state;

	qmp_execute(x->qmp, "one", NULL, on_answer, &a);
	x->fd = base_close(x->fd);
	turn(x);
	turn(x);
	assert_int_equal(x->closes, 1);
	assert_int_equal(a.count, 1);
}

static void last_events_can_be_drained(void **state)
{
	static const char last[] = "{\"event\": \"SHUTDOWN\"}\n";
	struct fixture *x = *state;

	assert_int_equal(send(x->fd, last, strlen(last), 0), strlen(last));
	x->fd = base_close(x->fd);
	qmp_drain(x->qmp);
	assert_string_equal(x->last_event, "SHUTDOWN");
}

#define CONNECTED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greeting_gives_the_version),
		cmocka_unit_test(event_gives_its_name_and_data),
		cmocka_unit_test(answers_give_their_id),
		cmocka_unit_test(what_is_not_qmp_is_refused),
		cmocka_unit_test(deep_nesting_is_refused),
		CONNECTED(negotiation_ends_in_ready),
		CONNECTED(lines_may_arrive_byte_by_byte_and_together),
		CONNECTED(answers_reach_who_asked),
		CONNECTED(answer_without_a_question_is_ignored),
		CONNECTED(events_carry_their_data),
		CONNECTED(garbage_closes_the_connection),
		CONNECTED(endless_line_closes_the_connection),
		CONNECTED(end_of_file_is_told_once),
		CONNECTED(last_events_can_be_drained),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
