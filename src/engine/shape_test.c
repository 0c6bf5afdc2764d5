/* Needs no QEMU: a file takes its place. */
#include "engine/shape.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

struct fixture {
	char directory[32];
	struct settings settings;
	struct manifest manifest;
	struct resources resources;
	struct shape shape;
};

static char command_line[] = "quiet", format[] = "raw", memory_shared[] = "shared";

static void put(struct fixture *x, const char *name, const char *text)
{
	autofree char *path = path_format("%s/%s", x->directory, name);

	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0700), 0);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	strcpy(x->directory, "/tmp/shape-test.XXXXXX");
	assert_non_null(mkdtemp(x->directory));
	setenv("XDG_CACHE_HOME", x->directory, 1);
	put(x, "qemu", "one");
	x->settings = (struct settings){
		.qemu = path_format("%s/qemu", x->directory), .template_memory = memory_shared};
	x->manifest = (struct manifest){.command_line = command_line, .format = format};
	x->resources = (struct resources)RESOURCES_INIT;
	x->resources.manifest = &x->manifest;
	memset(x->resources.image_digest, 'a', DIGEST_HEX_SIZE - 1);
	x->resources.kernel_fd = x->resources.initrd_fd = x->resources.disk_fd = 7;
	x->shape = (struct shape){.accel = ACCEL_TCG,
		.cpus = 1,
		.memory_mib = 1024,
		.slots = 2,
		.network = VM_NETWORK_USER};
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;
	int r = file_remove_tree(AT_FDCWD, x->directory);

	free(x->settings.qemu);
	free(x);
	return r;
}

static void get_key(struct fixture *x, char ret[DIGEST_HEX_SIZE])
{
	struct error err = {0};

	if (shape_key(&x->shape, &x->resources, &x->settings, ret, &err) < 0)
		fail_msg("%s", err.text);
}

static void assert_other_key(struct fixture *x, const char *key, const char *what)
{
	char other[DIGEST_HEX_SIZE];

	get_key(x, other);
	if (streq(key, other))
		fail_msg("%s makes no difference", what);
}

static void same_shape_is_the_same_template(void **state)
{
	struct fixture *x = *state;
	char a[DIGEST_HEX_SIZE], b[DIGEST_HEX_SIZE];

	get_key(x, a);
	assert_true(digest_is_hex(a));
	/* Files are open under other numbers the next time. */
	x->resources.kernel_fd = x->resources.disk_fd = 17;
	get_key(x, b);
	assert_string_equal(a, b);
}

/* Restores the shape after each change. */
static void whatever_the_guest_sees_makes_another_template(void **state)
{
	struct fixture *x = *state;
	struct shape shape = x->shape;
	char key[DIGEST_HEX_SIZE], other_line[] = "quiet debug", qcow2[] = "qcow2";

	get_key(x, key);
	x->shape.cpus = 2;
	assert_other_key(x, key, "the number of CPUs");
	x->shape = shape;
	x->shape.memory_mib = 2048;
	assert_other_key(x, key, "the memory");
	x->shape = shape;
	x->shape.slots = 4;
	assert_other_key(x, key, "the number of shares");
	x->shape = shape;
	x->shape.network = VM_NETWORK_NONE;
	assert_other_key(x, key, "the network");
	x->shape = shape;
	x->shape.scratch = true;
	assert_other_key(x, key, "the scratch disk");
	x->shape = shape;
	x->shape.own_memory = true;
	assert_other_key(x, key, "the kind of memory");
	x->shape = shape;
	x->shape.accel = ACCEL_KVM;
	assert_other_key(x, key, "the accelerator");
	x->shape = shape;
	x->manifest.command_line = other_line;
	assert_other_key(x, key, "the kernel's command line");
	x->manifest.command_line = command_line;
	x->manifest.format = qcow2;
	assert_other_key(x, key, "the disk's format");
	x->manifest.format = format;
	x->resources.image_digest[0] = 'b';
	assert_other_key(x, key, "the image");
}

static void another_qemu_makes_another_template(void **state)
{
	struct fixture *x = *state;
	char key[DIGEST_HEX_SIZE];

	get_key(x, key);
	put(x, "qemu", "two");
	assert_other_key(x, key, "the QEMU program");
}

static void seed_is_part_of_the_image(void **state)
{
	struct fixture *x = *state;
	autofree char *path = path_format("%s/seed", x->directory);
	char key[DIGEST_HEX_SIZE];

	put(x, "seed", "agent 1");
	x->resources.seed_fd = open(path, O_RDWR | O_CLOEXEC);
	get_key(x, key);
	assert_int_equal(pwrite(x->resources.seed_fd, "agent 2", 7, 0), 7);
	assert_other_key(x, key, "the seed");
	close(x->resources.seed_fd);
}

static void missing_qemu_is_an_error(void **state)
{
	struct fixture *x = *state;
	autofree char *path = path_format("%s/qemu", x->directory);
	char key[DIGEST_HEX_SIZE];
	struct error err = {0};

	assert_int_equal(unlink(path), 0);
	assert_true(shape_key(&x->shape, &x->resources, &x->settings, key, &err) < 0);
	assert_non_null(strstr(err.text, "qemu"));
}

static void few_numbers_of_slots_serve_all_requests(void **state)
{
	assert_int_equal(shape_slots(0), 0);
	assert_int_equal(shape_slots(1), shape_slots(2));
	for (size_t n = 1; n <= VM_SHARES_MAX; n++) {
		assert_true(shape_slots(n) >= n);
		assert_true(shape_slots(n) <= VM_SHARES_MAX);
		assert_true(shape_slots(n) <= 2 * n);
	}
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(same_shape_is_the_same_template),
		EACH(whatever_the_guest_sees_makes_another_template),
		EACH(another_qemu_makes_another_template),
		EACH(seed_is_part_of_the_image),
		EACH(missing_qemu_is_an_error),
		cmocka_unit_test(few_numbers_of_slots_serve_all_requests),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
