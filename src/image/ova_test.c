#include "image/ova.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "image/import.h"
#include "image/sample_test.h"
#include "lib/child.h"
#include "lib/file.h"

static void shell(const char *command)
{
	const char *const argv[] = {"sh", "-c", command, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};
	int r;

	spec.argv = argv;
	r = child_run(&spec, 60000, &err);
	if (r < 0)
		fail_msg("%s: %s", command, err.text);
}

/* As VirtualBox and AppDB have them; disk.vmdk alone, too. */
static void make_ova(void)
{
	uint8_t sector[512] = {[510] = 0x55, [511] = 0xaa};
	autoclose int fd = open("disk.raw", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (access("/usr/bin/qemu-img", X_OK) < 0)
		skip();
	assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
	assert_int_equal(pwrite(fd, "end", 4, (16 << 20) - 4), 4);
	shell("qemu-img convert -f raw -O vmdk -o subformat=streamOptimized disk.raw disk.vmdk && "
	      "echo '<Envelope/>' >disk.ovf && tar -H ustar -cf disk.ova disk.ovf disk.vmdk");
}

static void assert_refused(const char *path, const char *because)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct error err = {0};
	uint64_t offset, size;

	assert_true(fd >= 0);
	assert_int_equal(ova_find_disk(fd, &offset, &size, &err), -EINVAL);
	if (!strstr(err.text, because))
		fail_msg("%s: '%s' does not say '%s'", path, err.text, because);
}

static void an_archive_is_imported_as_its_disk(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct import_request request = {.source = "disk.ova", .max_bytes = 1 << 30};
	struct image *image AUTO(image_freep) = NULL;
	struct error err = {0};

	make_ova();
	if (import_image(s, &request, &image, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(image->name, "disk");
	assert_string_equal(image->manifest->format, "qcow2");
	assert_int_equal(image->manifest->disk_size, 16 << 20);
	shell("qemu-img compare -q -f raw disk.raw -F qcow2 store/blobs/\"$(ls -S store/blobs | head -1)\"");
	assert_int_equal(sample_count_entries("store/tmp"), 0);
}

static void the_archive_has_the_checksum(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct import_request request = {
		.source = "disk.ova", .max_bytes = 1 << 30, .format = "ova"};
	struct image *image AUTO(image_freep) = NULL;
	autoclose int fd = -1;
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};

	make_ova();
	fd = open("disk.ova", O_RDONLY | O_CLOEXEC);
	assert_int_equal(digest_file(fd, digest), 0);
	request.sha256 = digest;
	if (import_image(s, &request, &image, &err) < 0)
		fail_msg("%s", err.text);
	image = image_free(image);
	digest[0] = digest[0] == '0' ? '1' : '0';
	assert_int_equal(import_image(s, &request, &image, &err), -EBADMSG);
	request.sha256 = NULL;
	request.source = "disk.raw";
	assert_int_equal(import_image(s, &request, &image, &err), -EINVAL);
	assert_non_null(strstr(err.text, "no OVA archive"));
}

static void archives_without_one_whole_disk_are_refused(void **state)
{
	make_ova();
	shell("tar -cf none.ova disk.ovf && cp disk.vmdk second.vmdk && "
	      "tar -cf two.ova disk.vmdk second.vmdk && head -c 20000 disk.ova >cut.ova");
	assert_refused("none.ova", "no disk");
	assert_refused("two.ova", "more than one");
	assert_refused("cut.ova", "damaged");
	assert_refused("disk.raw", "no disk");
}

/* Neither the descriptor's parts nor a parent may be files of the host. */
static void disks_that_name_other_files_are_refused(void **state)
{
	make_ova();
	shell("cp disk.vmdk parent.vmdk && printf 'parentFileNameHint=\"/etc/passwd\"\\n' | "
	      "dd of=parent.vmdk bs=1 seek=900 conv=notrunc status=none && tar -cf parent.ova "
	      "parent.vmdk");
	assert_refused("parent.ova", "needs another file");
	shell("cp disk.vmdk parts.vmdk && dd if=/dev/zero of=parts.vmdk bs=1 seek=12 count=8 "
	      "conv=notrunc status=none && tar -cf parts.ova parts.vmdk");
	assert_refused("parts.ova", "not whole");
	shell("printf '# Disk DescriptorFile\\nRW 1 FLAT \"/etc/passwd\" 0\\n%01000d' 0 >text.vmdk && "
	      "tar -cf text.ova text.vmdk");
	assert_refused("text.ova", "no disk");
}

static void sizes_that_lie_lead_nowhere(void **state)
{
	static const char *const sizes[] = {"77777777777", "9999", " -1",
		"\\200\\377\\377\\377\\377\\377\\377\\377\\377\\377\\377\\377"};

	make_ova();
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char command[256];

		snprintf(command, sizeof(command),
			"cp disk.ova lie.ova && printf '%s' | dd of=lie.ova bs=1 seek=124 "
			"conv=notrunc status=none",
			sizes[i]);
		shell(command);
		assert_refused("lie.ova", "damaged");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			an_archive_is_imported_as_its_disk, sample_setup, sample_teardown),
		cmocka_unit_test_setup_teardown(
			the_archive_has_the_checksum, sample_setup, sample_teardown),
		cmocka_unit_test_setup_teardown(
			archives_without_one_whole_disk_are_refused, sample_setup, sample_teardown),
		cmocka_unit_test_setup_teardown(
			disks_that_name_other_files_are_refused, sample_setup, sample_teardown),
		cmocka_unit_test_setup_teardown(
			sizes_that_lie_lead_nowhere, sample_setup, sample_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
