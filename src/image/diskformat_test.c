#include "image/diskformat.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define GIB (UINT64_C(1) << 30)

static uint8_t head[DISKFORMAT_HEAD_SIZE];

static void be32(size_t offset, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		head[offset + (size_t)i] = (uint8_t)(value >> (24 - 8 * i));
}

static void make_qcow2(uint32_t version)
{
	memset(head, 0, sizeof(head));
	memcpy(head, "QFI\xfb", 4);
	be32(4, version);
	be32(28, (uint32_t)GIB); /* low half of the size */
}

static void make_raw(void)
{
	memset(head, 0, sizeof(head));
	head[510] = 0x55;
	head[511] = 0xaa;
}

static void assert_refused(size_t length, const char *because)
{
	const char *format = NULL;
	struct error err = {0};
	uint64_t size;

	assert_int_equal(diskformat_detect(head, length, GIB, &format, &size, &err), -EINVAL);
	if (!strstr(err.text, because))
		fail_msg("'%s' does not say '%s'", err.text, because);
	assert_null(format);
}

static void qcow2_images_are_known_with_their_size(void **state)
{
	for (uint32_t version = 2; version <= 3; version++) {
		const char *format;
		uint64_t size;

		make_qcow2(version);
		assert_int_equal(
			diskformat_detect(head, sizeof(head), 4096, &format, &size, NULL), 0);
		assert_string_equal(format, "qcow2");
		assert_int_equal(size, GIB);
	}
}

static void disks_with_a_boot_loader_are_raw(void **state)
{
	const char *format;
	uint64_t size;

	make_raw();
	assert_int_equal(diskformat_detect(head, sizeof(head), GIB - 100, &format, &size, NULL), 0);
	assert_string_equal(format, "raw");
	assert_int_equal(size, GIB); /* whole sectors */
}

/* Such an image could make QEMU show any file of the user's to the guest. */
static void images_that_name_other_files_are_refused(void **state)
{
	make_qcow2(3);
	be32(12, 1000);
	assert_refused(sizeof(head), "backing file");
	make_qcow2(2);
	be32(8, 1);
	assert_refused(sizeof(head), "backing file");
	make_qcow2(3);
	be32(76, 1 << 2);
	assert_refused(sizeof(head), "another file");
}

static void images_that_cannot_be_used_are_refused(void **state)
{
	make_qcow2(3);
	be32(32, 1);
	assert_refused(sizeof(head), "encrypted");
	make_qcow2(3);
	be32(76, 1 << 0);
	assert_refused(sizeof(head), "in use");
	make_qcow2(3);
	be32(76, 1 << 1);
	assert_refused(sizeof(head), "damaged");
	make_qcow2(1);
	assert_refused(sizeof(head), "convert");
	make_qcow2(9);
	assert_refused(sizeof(head), "qcow2");
}

static void sizes_that_no_disk_has_are_refused(void **state)
{
	make_qcow2(3);
	be32(28, 4096);
	assert_refused(sizeof(head), "4096");
	make_qcow2(3);
	be32(24, 0x7fffffff);
	assert_refused(sizeof(head), "8 TiB");
	make_qcow2(3);
	be32(24, 0xffffffff);
	assert_refused(sizeof(head), "8 TiB");
}

static void what_people_import_by_mistake_is_named(void **state)
{
	static const struct {
		size_t offset, length;
		const char *magic, *because;
	} mistakes[] = {
		{0, 4, "KDMV", "VMDK"},
		{0, 6, "\xfd\x37zXZ\0", "xz"},
		{0, 3, "\x1f\x8b\x08", "gzip"},
		{0, 15, "<!DOCTYPE html>", "web page"},
		{257, 5, "ustar", "tar"},
		{32769, 5, "CD001", "installation"},
		{0, 8, "vhdxfile", "qemu-img convert"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		make_raw(); /* hybrid images of CDs have a boot sector, too */
		memcpy(head + mistakes[i].offset, mistakes[i].magic, mistakes[i].length);
		assert_refused(sizeof(head), mistakes[i].because);
	}
	memset(head, 0, sizeof(head));
	assert_refused(sizeof(head), "boot loader");
}

static void short_files_are_refused(void **state)
{
	assert_refused(0, "empty");
	make_raw();
	assert_refused(511, "boot loader");
	make_qcow2(3);
	for (size_t length = 4; length < 104; length++)
		assert_refused(length, "qcow2");
	make_qcow2(2);
	assert_refused(71, "qcow2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qcow2_images_are_known_with_their_size),
		cmocka_unit_test(disks_with_a_boot_loader_are_raw),
		cmocka_unit_test(images_that_name_other_files_are_refused),
		cmocka_unit_test(images_that_cannot_be_used_are_refused),
		cmocka_unit_test(sizes_that_no_disk_has_are_refused),
		cmocka_unit_test(what_people_import_by_mistake_is_named),
		cmocka_unit_test(short_files_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
