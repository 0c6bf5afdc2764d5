/* What is tried next when a VM does not start. */
#include "engine/launch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static int any(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Else a node would be taken for one without KVM for what vhost-net has done. */
static void vhost_is_given_up_before_kvm(void **state)
{
	static const struct settings settings = {0};
	struct request request = {.settings = &settings};
	struct resources resources = RESOURCES_INIT;
	struct launch l = {.request = &request,
		.resources = &resources,
		.shape = {.accel = ACCEL_KVM},
		.trial = true};
	struct error err = {0};

	assert_true(vm_tap_add(&resources.tap, any()));
	assert_true(vm_tap_add_vhost(&resources.tap, any()));
	assert_true(launch_has_next(&l));
	assert_true(launch_try_next(&l, "QEMU ended", &err));
	assert_int_equal(resources.tap.vhost_count, 0);
	assert_int_equal(l.shape.accel, ACCEL_KVM);
	assert_true(launch_try_next(&l, "QEMU ended", &err));
	assert_int_equal(l.shape.accel, ACCEL_TCG);
	assert_false(launch_has_next(&l));
	assert_false(launch_try_next(&l, "QEMU ended", &err));
	vm_tap_done(&resources.tap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vhost_is_given_up_before_kvm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
