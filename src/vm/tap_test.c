#include "vm/tap.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static int any(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void no_more_queues_are_taken_than_there_is_room_for(void **state)
{
	struct vm_tap tap = {.count = 0};
	int last = any();

	for (size_t i = 0; i < VM_QUEUES_MAX; i++)
		assert_true(vm_tap_add(&tap, any()));
	assert_false(vm_tap_add(&tap, last));
	assert_false(vm_tap_add_vhost(&tap, -1));
	assert_int_equal(tap.count, VM_QUEUES_MAX);
	assert_true(is_open(last));
	close(last);
	vm_tap_done(&tap);
	assert_int_equal(tap.count, 0);
}

static void what_is_not_kept_is_closed(void **state)
{
	struct vm_tap tap = {.count = 0};
	int first = any(), second = any(), vhost = any();

	assert_true(vm_tap_add(&tap, first));
	assert_true(vm_tap_add(&tap, second));
	assert_true(vm_tap_add_vhost(&tap, vhost));
	vm_tap_keep_first(&tap);
	assert_int_equal(tap.count, 1);
	assert_int_equal(tap.vhost_count, 0);
	assert_true(is_open(first));
	assert_false(is_open(second));
	assert_false(is_open(vhost));
	vm_tap_keep_first(&tap);
	assert_true(is_open(first));
	vm_tap_done(&tap);
	assert_false(is_open(first));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_more_queues_are_taken_than_there_is_room_for),
		cmocka_unit_test(what_is_not_kept_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
