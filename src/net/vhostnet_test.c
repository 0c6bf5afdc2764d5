#include "net/vhostnet.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define NONE "/dev/wnodes-no-such-device"

static void each_queue_has_one_of_its_own(void **state)
{
	int fds[3] = {-1, -1, -1};
	struct error err = {0};

	if (vhostnet_open(VHOSTNET_DEVICE, 3, true, fds, &err) < 0)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		close(fds[i]);
	}
}

static void what_only_opens_is_not_taken_for_it(void **state)
{
	char path[] = "/tmp/wnodes-vhost-XXXXXX";
	int file = mkstemp(path), fds[3], next = dup(file);
	struct error err = {0};

	assert_true(file >= 0);
	close(next);
	assert_int_equal(vhostnet_open(path, 3, false, fds, &err), 0);
	assert_int_equal(vhostnet_open(path, 3, true, fds, &err), -ENOTTY);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(dup(file), next); /* none is left open */
	close(next);
	close(file);
	unlink(path);
}

static void where_it_is_not_there_a_vm_goes_without(void **state)
{
	struct error err = {0};
	int fds[2];

	assert_int_equal(vhostnet_open(NONE, 2, false, fds, &err), 0);
	assert_string_equal(err.text, "");
}

static void where_it_is_needed_the_refusal_says_what_to_do(void **state)
{
	struct error err = {0};
	int fds[2];

	assert_int_equal(vhostnet_open(NONE, 2, true, fds, &err), -ENOENT);
	assert_non_null(strstr(err.text, NONE));
	assert_non_null(strstr(err.text, "modprobe vhost_net"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_queue_has_one_of_its_own),
		cmocka_unit_test(what_only_opens_is_not_taken_for_it),
		cmocka_unit_test(where_it_is_not_there_a_vm_goes_without),
		cmocka_unit_test(where_it_is_needed_the_refusal_says_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
