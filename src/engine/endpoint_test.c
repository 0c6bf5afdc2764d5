#include "engine/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/file.h"

#include <cmocka.h>

struct fixture {
	sd_event *event;
	struct endpoint *endpoint;
	int readies;
};

static void on_ready(struct endpoint *e, void *userdata)
{
	struct fixture *x = userdata;

	x->readies++;
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	signal(SIGPIPE, SIG_IGN); /* as every program that has an endpoint does */
	*state = x;
	return sd_event_new(&x->event) < 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	endpoint_free(x->endpoint);
	sd_event_unref(x->event);
	free(x);
	return 0;
}

/* Opens an endpoint on a copy of the descriptor, which so shares its flags. */
static void open_copy(struct fixture *x, int fd, bool writing)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	assert_true(copy >= 0);
	assert_int_equal(endpoint_open(x->event, copy, writing, on_ready, x, &x->endpoint), 0);
}

static void turn(struct fixture *x)
{
	for (int i = 0; i < 10; i++)
		sd_event_run(x->event, 0);
}

static int open_terminal(int *ret_slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	*ret_slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*ret_slave >= 0);
	return master;
}

static void assert_flags_unchanged(struct fixture *x, int fd, bool writing)
{
	int before = fcntl(fd, F_GETFL);
	char byte;

	open_copy(x, fd, writing);
	if (!writing)
		assert_true(endpoint_read(x->endpoint, &byte, 1) <= 0);
	assert_int_equal(fcntl(fd, F_GETFL), before);
	assert_int_equal(before & O_NONBLOCK, 0);
	x->endpoint = endpoint_free(x->endpoint);
	assert_int_equal(fcntl(fd, F_GETFL), before);
}

static void flags_that_others_share_stay_as_they_are(void **state)
{
	struct fixture *x = *state;
	int ends[2], sockets[2], slave, master = open_terminal(&slave);

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_flags_unchanged(x, ends[0], false);
	assert_flags_unchanged(x, ends[1], true);
	assert_flags_unchanged(x, sockets[0], false);
	assert_flags_unchanged(x, slave, false);
	assert_flags_unchanged(x, slave, true);
	close(ends[0]);
	close(ends[1]);
	close(sockets[0]);
	close(sockets[1]);
	close(slave);
	close(master);
}

static void reading_never_waits(void **state)
{
	struct fixture *x = *state;
	int ends[2], sockets[2], slave, master = open_terminal(&slave), counter;
	char text[8];

	counter = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	for (size_t i = 0; i < 4; i++) {
		const int fds[] = {ends[0], sockets[0], slave, counter};

		open_copy(x, fds[i], false);
		alarm(20);
		assert_int_equal(endpoint_read(x->endpoint, text, sizeof(text)), -EAGAIN);
		alarm(0);
		x->endpoint = endpoint_free(x->endpoint);
		close(fds[i]);
	}
	close(ends[1]);
	close(sockets[1]);
	close(master);
}

/* Writes until nothing more goes. */
static size_t fill(struct endpoint *e)
{
	static const char data[100000];
	size_t done = 0;
	ssize_t n;

	alarm(20);
	while ((n = endpoint_write(e, data, sizeof(data))) > 0)
		done += (size_t)n;
	alarm(0);
	assert_int_equal(n, -EAGAIN);
	return done;
}

static void writing_never_waits(void **state)
{
	struct fixture *x = *state;
	int ends[2], sockets[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	open_copy(x, ends[1], true);
	assert_true(fill(x->endpoint) >= 4096);
	x->endpoint = endpoint_free(x->endpoint);
	open_copy(x, sockets[0], true);
	assert_true(fill(x->endpoint) >= 4096);
	close(ends[0]);
	close(ends[1]);
	close(sockets[0]);
	close(sockets[1]);
}

/* The part of another user: it may not open the pipe anew, and still must not wait. */
static int write_as_nobody(int fd)
{
	struct fixture x = {0};
	int before;

	if (setgid(65534) < 0 || setuid(65534) < 0 || sd_event_new(&x.event) < 0)
		return 2;
	before = fcntl(fd, F_GETFL);
	if (open("/proc/self/fd/0", O_WRONLY) >= 0)
		return 3;
	open_copy(&x, fd, true);
	fill(x.endpoint);
	return fcntl(fd, F_GETFL) == before ? 0 : 4;
}

static void pipe_that_cannot_be_opened_anew_does_not_make_us_wait(void **state)
{
	int ends[2], status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		_exit(dup2(ends[1], 0) < 0 ? 1 : write_as_nobody(0));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(ends[0]);
	close(ends[1]);
}

static void bytes_pass_unchanged(void **state)
{
	static const char data[] = "\0\n\r\x7f\xff\x04 text";
	struct fixture *x = *state;
	char text[sizeof(data)];
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	open_copy(x, ends[1], true);
	assert_int_equal(endpoint_write(x->endpoint, data, sizeof(data)), sizeof(data));
	x->endpoint = endpoint_free(x->endpoint);
	open_copy(x, ends[0], false);
	assert_int_equal(endpoint_read(x->endpoint, text, sizeof(text)), sizeof(data));
	assert_memory_equal(text, data, sizeof(data));
	close(ends[1]);
	assert_int_equal(endpoint_read(x->endpoint, text, sizeof(text)), 0);
	close(ends[0]);
}

static void reader_that_is_gone_is_an_error(void **state)
{
	struct fixture *x = *state;
	int ends[2], sockets[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	open_copy(x, ends[1], true);
	close(ends[0]);
	assert_int_equal(endpoint_write(x->endpoint, "x", 1), -EPIPE);
	close(ends[1]);
	x->endpoint = endpoint_free(x->endpoint);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	open_copy(x, sockets[1], true);
	close(sockets[0]);
	assert_int_equal(endpoint_write(x->endpoint, "x", 1), -EPIPE);
	close(sockets[1]);
}

static void full_device_is_an_error(void **state)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct fixture *x = *state;

	open_copy(x, fd, true);
	assert_int_equal(endpoint_write(x->endpoint, "x", 1), -ENOSPC);
	close(fd);
}

static void ready_is_called_only_while_wanted_and_possible(void **state)
{
	struct fixture *x = *state;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	open_copy(x, ends[0], false);
	assert_int_equal(write(ends[1], "x", 1), 1);
	turn(x);
	assert_int_equal(x->readies, 0);
	endpoint_enable(x->endpoint, true);
	turn(x);
	assert_true(x->readies > 0);
	endpoint_enable(x->endpoint, false);
	x->readies = 0;
	turn(x);
	assert_int_equal(x->readies, 0);
	endpoint_enable(x->endpoint, true);
	assert_int_equal(endpoint_read(x->endpoint, (char[8]){0}, 8), 1);
	x->readies = 0;
	turn(x);
	assert_int_equal(x->readies, 0);
	close(ends[1]);
	turn(x);
	assert_true(x->readies > 0);
	close(ends[0]);
}

/* epoll(7) refuses these. */
static void files_and_devices_are_always_ready(void **state)
{
	struct fixture *x = *state;
	const int fds[] = {open("/dev/null", O_RDWR | O_CLOEXEC),
		open("/dev/zero", O_RDWR | O_CLOEXEC), file_open_temporary("/tmp"),
		open("/", O_RDONLY | O_CLOEXEC)};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		open_copy(x, fds[i], i % 2);
		turn(x);
		assert_int_equal(x->readies, 0);
		endpoint_enable(x->endpoint, true);
		turn(x);
		assert_true(x->readies > 0);
		x->readies = 0;
		x->endpoint = endpoint_free(x->endpoint);
		close(fds[i]);
	}
}

static void directory_cannot_be_read(void **state)
{
	int fd = open("/", O_RDONLY | O_CLOEXEC);
	struct fixture *x = *state;
	char byte;

	open_copy(x, fd, false);
	assert_int_equal(endpoint_read(x->endpoint, &byte, 1), -EISDIR);
	close(fd);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(flags_that_others_share_stay_as_they_are),
		EACH(reading_never_waits),
		EACH(writing_never_waits),
		EACH(pipe_that_cannot_be_opened_anew_does_not_make_us_wait),
		EACH(bytes_pass_unchanged),
		EACH(reader_that_is_gone_is_an_error),
		EACH(full_device_is_an_error),
		EACH(ready_is_called_only_while_wanted_and_possible),
		EACH(files_and_devices_are_always_ready),
		EACH(directory_cannot_be_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
