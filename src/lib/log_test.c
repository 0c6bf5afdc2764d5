#include "lib/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* What `print` writes to stderr. */
static void captured(void (*print)(void), char text[256])
{
	int pipes[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	dup2(pipes[1], STDERR_FILENO);
	print();
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipes[1]);
	n = read(pipes[0], text, 255);
	assert_true(n >= 0);
	text[n] = '\0';
	close(pipes[0]);
}

static void print_hostile(void)
{
	log_error("the guest says \033]0;owned\007 and\r\nmore");
}

static void print_debug(void)
{
	log_debug("nobody asked");
}

static void what_a_terminal_would_obey_is_not_printed(void **state)
{
	char text[256];

	captured(print_hostile, text);
	assert_string_equal(text, "wnodes: the guest says ?]0;owned? and \nmore\n");
}

static void less_important_messages_are_not_printed(void **state)
{
	char text[256];

	log_set("wnodes", LOG_LEVEL_WARNING);
	captured(print_debug, text);
	assert_string_equal(text, "");
}

static char sunk[256];

static void sink(enum log_level level, const char *text)
{
	snprintf(sunk, sizeof(sunk), "%d %s", level, text);
}

static void messages_may_go_elsewhere(void **state)
{
	char text[256];

	log_set_sink(sink);
	captured(print_hostile, text);
	log_set_sink(NULL);
	assert_string_equal(text, "");
	assert_string_equal(sunk, "0 the guest says \033]0;owned\007 and\r\nmore");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_terminal_would_obey_is_not_printed),
		cmocka_unit_test(less_important_messages_are_not_printed),
		cmocka_unit_test(messages_may_go_elsewhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
