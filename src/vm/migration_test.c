/* Against a QEMU that is a socket: what it is told, and what is made of its answers. */
#include "vm/migration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/file.h"

#include <cmocka.h>

struct fixture {
	sd_event *event;
	struct qmp *qmp;
	struct migration *migration;
	int fd;
	char text[4096]; /* all that QEMU was sent */
	size_t length;
	int dones;
	char error[256];
};

static void on_event(const char *name, json_t *data, void *userdata)
{
	struct fixture *x = userdata;

	migration_on_event(x->migration, name, data);
}

static void on_done(const char *error, void *userdata)
{
	struct fixture *x = userdata;

	x->dones++;
	snprintf(x->error, sizeof(x->error), "%s", error ? error : "");
}

static int setup(void **state)
{
	static const struct qmp_callbacks callbacks = {.on_event = on_event};
	struct fixture *x = calloc(1, sizeof(*x));
	int pair[2];

	assert_true(sd_event_new(&x->event) >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	x->fd = pair[0];
	assert_int_equal(file_set_nonblocking(x->fd, true), 0);
	assert_int_equal(qmp_open(x->event, pair[1], &callbacks, x, &x->qmp), 0);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	qmp_free(x->qmp);
	migration_free(x->migration);
	base_close(x->fd);
	sd_event_unref(x->event);
	free(x);
	return 0;
}

static void turn(struct fixture *x)
{
	ssize_t n;

	while (sd_event_run(x->event, 0) > 0)
		;
	n = read(x->fd, x->text + x->length, sizeof(x->text) - x->length - 1);
	x->length += n > 0 ? (size_t)n : 0;
}

static void say(struct fixture *x, const char *line)
{
	assert_int_equal(write(x->fd, line, strlen(line)), (ssize_t)strlen(line));
	turn(x);
}

/* QEMU was sent this, and now answers it with this. */
static void answer(struct fixture *x, const char *command, const char *line)
{
	turn(x);
	if (!strstr(x->text, command))
		fail_msg("'%s' was not sent, but '%s'", command, x->text);
	x->length = 0;
	memset(x->text, 0, sizeof(x->text));
	say(x, line);
}

static void loading_ends_when_the_guest_goes_on(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(migration_load(x->qmp, 9, on_done, x, &x->migration), 0);
	answer(x, "\"x-ignore-shared\"", "{\"return\":{},\"id\":1}\n");
	answer(x, "\"fd:9\"", "{\"return\":{},\"id\":2}\n");
	assert_int_equal(x->dones, 0);
	say(x, "{\"event\":\"RESUME\"}\n");
	assert_int_equal(x->dones, 1);
	assert_string_equal(x->error, "");
	say(x, "{\"event\":\"RESUME\"}\n");
	assert_int_equal(x->dones, 1);
}

static void refused_command_ends_it(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(migration_load(x->qmp, 9, on_done, x, &x->migration), 0);
	answer(x, "x-ignore-shared", "{\"error\":{\"desc\":\"no such thing\"},\"id\":1}\n");
	assert_int_equal(x->dones, 1);
	assert_string_equal(x->error, "no such thing");
	/* Nothing more is asked of it. */
	turn(x);
	assert_null(strstr(x->text, "migrate-incoming"));
}

static void saving_hands_the_file_over_and_waits_for_the_end(void **state)
{
	struct fixture *x = *state;
	FILE *file = tmpfile();

	assert_int_equal(migration_save(x->qmp, fileno(file), on_done, x, &x->migration), 0);
	answer(x, "x-ignore-shared", "{\"return\":{},\"id\":1}\n");
	answer(x, "events", "{\"return\":{},\"id\":2}\n");
	answer(x, "getfd", "{\"return\":{},\"id\":3}\n");
	answer(x, "fd:state", "{\"return\":{},\"id\":4}\n");
	say(x, "{\"event\":\"MIGRATION\",\"data\":{\"status\":\"active\"}}\n");
	assert_int_equal(x->dones, 0);
	say(x, "{\"event\":\"MIGRATION\",\"data\":{\"status\":\"completed\"}}\n");
	assert_int_equal(x->dones, 1);
	assert_string_equal(x->error, "");
	fclose(file);
}

static void failed_save_is_told(void **state)
{
	struct fixture *x = *state;
	FILE *file = tmpfile();

	assert_int_equal(migration_save(x->qmp, fileno(file), on_done, x, &x->migration), 0);
	turn(x);
	say(x, "{\"event\":\"MIGRATION\",\"data\":{\"status\":\"failed\"}}\n");
	assert_int_equal(x->dones, 1);
	assert_string_not_equal(x->error, "");
	fclose(file);
}

static void end_of_qemu_is_told_once(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(migration_load(x->qmp, 9, on_done, x, &x->migration), 0);
	turn(x);
	x->fd = base_close(x->fd);
	while (sd_event_run(x->event, 0) > 0)
		;
	assert_int_equal(x->dones, 1);
	assert_string_not_equal(x->error, "");
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(loading_ends_when_the_guest_goes_on),
		EACH(refused_command_ends_it),
		EACH(saving_hands_the_file_over_and_waits_for_the_end),
		EACH(failed_save_is_told),
		EACH(end_of_qemu_is_told_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
