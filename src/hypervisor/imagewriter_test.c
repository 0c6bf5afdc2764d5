/* A file is the volume here; tests/system/volume_node.bats has real ones. */
#include "hypervisor/imagewriter.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "image/sample_test.h"
#include "lib/file.h"

#define DISK_BYTES (3 * 1024 * 1024 + 512)

static bool ending;

struct fixture {
	struct store *store;
	struct imagewriter writer;
};

static void fixture_open(struct fixture *f)
{
	struct error err;

	ending = false;
	*f = (struct fixture){.store = sample_open()};
	f->writer = (struct imagewriter){
		.store = f->store, .directory = ".", .ending = &ending, .fd = -1};
	assert_int_equal(
		sample_add(f->store, "el9", "1", 7, DISK_BYTES, f->writer.digest, &err), 0);
}

static void fixture_close(struct fixture *f)
{
	base_close(f->writer.fd);
	store_free(f->store);
}

static void write_it(struct fixture *f)
{
	f->writer.fd = file_open_temporary(".");
	assert_true(f->writer.fd >= 0);
	imagewriter_work(&f->writer.job);
}

static void the_disk_is_on_the_volume(void **state)
{
	char hex[DIGEST_HEX_SIZE];
	struct fixture f;
	struct image *image;

	fixture_open(&f);
	imagewriter_work(&f.writer.job);
	assert_int_equal(f.writer.result, 0);
	assert_true(f.writer.disk_bytes >= DISK_BYTES);
	write_it(&f);
	assert_int_equal(f.writer.result, 0);
	image = sample_find(f.store, "el9:1");
	assert_int_equal(
		digest_device(f.writer.fd, manifest_part(image->manifest, IMAGE_DISK)->size, hex),
		0);
	assert_string_equal(hex, manifest_part(image->manifest, IMAGE_DISK)->digest);
	image_free(image);
	fixture_close(&f);
}

/* As after a write that the disk has lost. */
static void what_is_not_right_is_told(void **state)
{
	struct fixture f;

	fixture_open(&f);
	f.writer.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	imagewriter_work(&f.writer.job);
	assert_true(f.writer.result < 0);
	assert_true(f.writer.err.text[0]);
	fixture_close(&f);
}

static void an_image_that_has_gone_is_told_apart(void **state)
{
	struct fixture f;

	fixture_open(&f);
	memset(f.writer.digest, '0', sizeof(f.writer.digest) - 1);
	imagewriter_work(&f.writer.job);
	assert_int_equal(f.writer.result, -ENOENT);
	fixture_close(&f);
}

static void who_ends_does_not_wait(void **state)
{
	struct fixture f;

	fixture_open(&f);
	ending = true;
	write_it(&f);
	assert_int_equal(f.writer.result, -ECANCELED);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_disk_is_on_the_volume, sample_setup, sample_teardown),
		cmocka_unit_test_setup_teardown(
			what_is_not_right_is_told, sample_setup, sample_teardown),
		cmocka_unit_test_setup_teardown(
			an_image_that_has_gone_is_told_apart, sample_setup, sample_teardown),
		cmocka_unit_test_setup_teardown(
			who_ends_does_not_wait, sample_setup, sample_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
