#include "vm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

struct fixture {
	sd_event *event;
	struct console *console;
	int guest; /* the end that the guest writes to */
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	int pair[2];

	signal(SIGPIPE, SIG_IGN); /* as every program that has a console does */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(sd_event_new(&x->event) >= 0);
	assert_int_equal(console_open(x->event, pair[0], &x->console), 0);
	x->guest = pair[1];
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	console_free(x->console);
	base_close(x->guest);
	sd_event_unref(x->event);
	free(x);
	return 0;
}

static void turn(struct fixture *x)
{
	while (sd_event_run(x->event, 0) > 0)
		continue;
}

static void guest_writes(struct fixture *x, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t n = send(x->guest, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			assert_int_equal(errno, EAGAIN);
		text += MAX_OF(n, 0);
		length -= (size_t)MAX_OF(n, 0);
		turn(x);
	}
}

static void assert_tail(struct fixture *x, size_t max, const char *expected)
{
	char text[64];

	assert_true(max <= sizeof(text));
	assert_int_equal(console_tail(x->console, text, max), strlen(expected));
	assert_string_equal(text, expected);
}

static void tail_is_the_last_bytes(void **state)
{
	struct fixture *x = *state;

	assert_tail(x, 64, "");
	guest_writes(x, "Linux version\n", 14);
	assert_tail(x, 64, "Linux version\n");
	guest_writes(x, "panic\n", 6);
	assert_tail(x, 64, "Linux version\npanic\n");
	assert_tail(x, 7, "panic\n");
	assert_tail(x, 1, "");
}

static void old_bytes_make_room_for_new_ones(void **state)
{
	autofree char *big = malloc(3 * CONSOLE_KEPT);
	autofree char *kept = malloc(4 * CONSOLE_KEPT);
	struct fixture *x = *state;

	for (size_t i = 0; i < 3 * CONSOLE_KEPT; i++)
		big[i] = (char)('a' + i % 23);
	guest_writes(x, big, 3 * CONSOLE_KEPT - 5);
	assert_int_equal(console_tail(x->console, kept, 4 * CONSOLE_KEPT), CONSOLE_KEPT);
	assert_memory_equal(kept, big + 2 * CONSOLE_KEPT - 5, CONSOLE_KEPT);
}

static void last_words_of_an_ended_vm_can_be_drained(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(send(x->guest, "bye", 3, 0), 3);
	x->guest = base_close(x->guest);
	console_drain(x->console);
	assert_tail(x, 64, "bye");
}

/* Returns what has come, as a string. */
static const char *watcher_got(int fd, char *text, size_t size)
{
	size_t used = 0;
	ssize_t n;

	while ((n = read(fd, text + used, size - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	return text;
}

static void watcher_sees_what_was_and_what_comes(void **state)
{
	struct fixture *x = *state;
	char text[64];
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	guest_writes(x, "before ", 7);
	assert_int_equal(console_watch(x->console, fds[1]), 0);
	guest_writes(x, "after", 5);
	assert_string_equal(watcher_got(fds[0], text, sizeof(text)), "before after");
	close(fds[0]);
}

static void watcher_that_does_not_read_holds_nobody_up(void **state)
{
	static char big[CONSOLE_KEPT];
	struct fixture *x = *state;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(console_watch(x->console, fds[1]), 0);
	for (int i = 0; i < 32; i++)
		guest_writes(x, big, sizeof(big));
	guest_writes(x, "end", 3);
	assert_tail(x, 4, "end");
	close(fds[0]);
}

static void watchers_that_left_make_room_though_the_guest_is_silent(void **state)
{
	struct fixture *x = *state;

	for (int i = 0; i < 20; i++) {
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		assert_int_equal(console_watch(x->console, fds[0]), 0);
		close(fds[1]);
	}
}

static void too_many_watchers_are_refused(void **state)
{
	struct fixture *x = *state;
	int ends[10][2];
	int r = 0;
	size_t n = 0;

	for (; n < ARRAY_SIZE(ends) && r == 0; n++) {
		assert_int_equal(pipe2(ends[n], O_CLOEXEC), 0);
		r = console_watch(x->console, ends[n][1]);
	}
	assert_int_equal(r, -EBUSY);
	assert_true(n > 4);
	/* The descriptor of the refused one was taken and closed. */
	assert_int_equal(fcntl(ends[n - 1][1], F_GETFD), -1);
	while (n > 0)
		close(ends[--n][0]);
}

#define CONSOLE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONSOLE(tail_is_the_last_bytes),
		CONSOLE(old_bytes_make_room_for_new_ones),
		CONSOLE(last_words_of_an_ended_vm_can_be_drained),
		CONSOLE(watcher_sees_what_was_and_what_comes),
		CONSOLE(watcher_that_does_not_read_holds_nobody_up),
		CONSOLE(watchers_that_left_make_room_though_the_guest_is_silent),
		CONSOLE(too_many_watchers_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
