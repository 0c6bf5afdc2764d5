#include "vm/overlay.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <jansson.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

#define PATIENCE_MS 60000
#define MIB         (UINT64_C(1) << 20)
#define TIB         (UINT64_C(1) << 40)

static char directory[] = "/tmp/overlay-test.XXXXXX";

static int make_directory(void **state)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	return file_remove_tree(AT_FDCWD, directory);
}

/* An overlay under a name, so that QEMU's own tools can look at it. */
static char *make_overlay(uint64_t size)
{
	char *path = path_format("%s/overlay.qcow2", directory);
	autoclose int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct error err = {0};

	assert_true(fd >= 0);
	if (overlay_write(fd, size, &err) < 0)
		fail_msg("%s", err.text);
	return path;
}

static char *output_of(const char *const *argv)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};
	char *text = NULL;

	spec.argv = argv;
	if (child_output(&spec, PATIENCE_MS, MIB, &text, &err) < 0)
		fail_msg("%s", err.text);
	return text;
}

static void run(const char *const *argv)
{
	free(output_of(argv));
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static uint64_t info_number(const char *path, const char *key)
{
	const char *argv[] = {"qemu-img", "info", "--output=json", path, NULL};
	autofree char *text = output_of(argv);
	json_t *info = json_loads(text, 0, NULL);
	uint64_t value = (uint64_t)json_integer_value(json_object_get(info, key));

	assert_string_equal(json_string_value(json_object_get(info, "format")), "qcow2");
	assert_null(json_object_get(info, "backing-filename"));
	json_decref(info);
	return value;
}

static void qemu_finds_no_fault_in_it_at_any_size(void **state)
{
	static const uint64_t sizes[] = {
		1, 512, MIB, 3 * 1024 * MIB + 512, 4 * TIB, 4 * TIB + 1, 8 * TIB};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		autofree char *path = make_overlay(sizes[i]);
		/* QEMU counts in sectors. */
		uint64_t whole = (sizes[i] + 511) / 512 * 512;

		RUN("qemu-img", "check", "-f", "qcow2", path);
		assert_true(info_number(path, "virtual-size") == whole);
	}
}

static void empty_overlay_takes_little_space(void **state)
{
	autofree char *path = make_overlay(8 * TIB);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks * 512 <= 64 * 1024);
}

static void sizes_that_it_cannot_have_are_refused(void **state)
{
	autoclose int fd = file_open_temporary(directory);
	struct error err = {0};

	assert_int_equal(overlay_write(fd, 0, &err), -EINVAL);
	assert_int_equal(overlay_write(fd, 8 * TIB + 1, &err), -EINVAL);
	assert_int_equal(overlay_write(fd, UINT64_MAX, &err), -EINVAL);
	assert_non_null(strstr(err.text, "18446744073709551615"));
}

static void qemu_io(const char *image, const char *command)
{
	RUN("qemu-io", "-c", command, image);
}

/* As the VM has it: what was not written comes from the base, what was written does not go to it.
 */
static void writes_stay_above_the_base(void **state)
{
	autofree char *overlay = make_overlay(4 * MIB);
	autofree char *base = path_format("%s/base.raw", directory);
	autofree char *both = path_format("json:{\"driver\": \"qcow2\", \"file\": {\"driver\": "
					  "\"file\", \"filename\": \"%s\"}, \"backing\": "
					  "{\"driver\": \"raw\", \"read-only\": true, \"file\": "
					  "{\"driver\": \"file\", \"filename\": \"%s\"}}}",
		overlay, base);

	RUN("qemu-img", "create", "-q", "-f", "raw", base, "4M");
	RUN("qemu-io", "-f", "raw", "-c", "write -P 0x11 0 4M", base);
	qemu_io(both, "write -P 0x22 1M 64k");
	qemu_io(both, "write -P 0x33 4194240 64");
	qemu_io(both, "read -P 0x11 0 1M");
	qemu_io(both, "read -P 0x22 1M 64k");
	qemu_io(both, "read -P 0x11 1114112 1M");
	qemu_io(both, "read -P 0x33 4194240 64");
	RUN("qemu-io", "-f", "raw", "-c", "read -P 0x11 0 4M", base);
	RUN("qemu-img", "check", "-f", "qcow2", overlay);
}

static void far_end_of_the_largest_can_be_written(void **state)
{
	autofree char *path = make_overlay(8 * TIB);

	RUN("qemu-io", "-f", "qcow2", "-c", "write -P 0x44 8796093021696 512", path);
	RUN("qemu-io", "-f", "qcow2", "-c", "read -P 0x44 8796093021696 512", path);
	RUN("qemu-img", "check", "-f", "qcow2", path);
}

static void opened_overlay_has_no_name(void **state)
{
	struct error err = {0};
	autofree char *empty = path_format("%s/empty", directory);
	autoclose int fd = -1;
	struct stat st;

	assert_int_equal(mkdir(empty, 0700), 0);
	fd = overlay_open(empty, 5 * MIB, &err);
	assert_true(fd >= 0);
	assert_int_equal(rmdir(empty), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
}

static void missing_directory_is_named(void **state)
{
	struct error err = {0};

	assert_int_equal(overlay_open("/not/there", MIB, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/not/there"));
}

/* A limit on file sizes fails a write as a full disk does. */
static void lack_of_space_is_an_error(void **state)
{
	autoclose int fd = file_open_temporary(directory);
	struct rlimit before, small;
	struct error err = {0};
	int r;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){65536, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	r = overlay_write(fd, MIB, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(r, -EFBIG);
	assert_non_null(strstr(err.text, "overlay"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_finds_no_fault_in_it_at_any_size),
		cmocka_unit_test(empty_overlay_takes_little_space),
		cmocka_unit_test(sizes_that_it_cannot_have_are_refused),
		cmocka_unit_test(writes_stay_above_the_base),
		cmocka_unit_test(far_end_of_the_largest_can_be_written),
		cmocka_unit_test(opened_overlay_has_no_name),
		cmocka_unit_test(missing_directory_is_named),
		cmocka_unit_test(lack_of_space_is_an_error),
	};
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
