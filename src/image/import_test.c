#include "image/import.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "image/sample_test.h"
#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

/* A sparse disk of 16 MiB with a boot sector and something at its end. */
static void make_raw(const char *path)
{
	uint8_t sector[512] = {[510] = 0x55, [511] = 0xaa};
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
	assert_int_equal(pwrite(fd, "end", 4, (16 << 20) - 4), 4);
	close(fd);
}

static void run(const char *const *argv)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};
	int r;

	spec.argv = argv;
	r = child_run(&spec, 60000, &err);
	if (r == -ENOENT)
		skip();
	if (r < 0)
		fail_msg("%s", err.text);
}

static void make_qcow2(const char *path)
{
	const char *const argv[] = {
		"qemu-img", "convert", "-f", "raw", "-O", "qcow2", "disk.raw", path, NULL};

	make_raw("disk.raw");
	run(argv);
}

static int import(struct store *s, const struct import_request *request, struct image **ret,
	struct error *err)
{
	struct import_request whole = *request;

	whole.max_bytes = 1 << 30;
	return import_image(s, &whole, ret, err);
}

static void assert_refused(
	struct store *s, const struct import_request *request, int code, const char *because)
{
	struct image *image = NULL;
	struct error err = {0};
	int r = import(s, request, &image, &err);

	if (r != code || !strstr(err.text, because))
		fail_msg("%d: '%s' does not say '%s'", r, err.text, because);
	assert_null(image);
}

static int count_image(const struct image *image, void *userdata)
{
	(*(int *)userdata)++;
	return 0;
}

static int count_images(struct store *s)
{
	int count = 0;

	assert_int_equal(store_list(s, count_image, &count, NULL), 0);
	return count;
}

static void both_formats_are_imported_as_they_are(void **state)
{
	static const char *const formats[] = {"raw", "qcow2"};
	struct store *s AUTO(store_freep) = sample_open();

	make_qcow2("disk.qcow2");
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		autofree char *path = path_format("disk.%s", formats[i]);
		struct import_request request = {.source = path, .tag = formats[i]};
		struct image *image AUTO(image_freep) = NULL, *found AUTO(image_freep) = NULL;
		autofree char *blob = NULL;
		struct error err = {0};

		if (import(s, &request, &image, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(store_find(s, image->digest, &found, NULL), 0);
		assert_string_equal(found->manifest->format, formats[i]);
		assert_int_equal(found->manifest->disk_size, 16 << 20);
		assert_int_equal(found->manifest->boot, IMAGE_BOOT_DISK);
		assert_int_equal(found->manifest->agent, IMAGE_AGENT_SEED);
		assert_null(found->manifest->gateways);
		assert_string_equal(found->manifest->origin, path);
		blob = path_format("store/blobs/%s", found->manifest->parts[0].digest);
		run((const char *const[]){"cmp", path, blob, NULL});
	}
}

static void holes_stay_holes(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct import_request request = {.source = "disk.raw"};
	struct image *image AUTO(image_freep) = NULL;
	autofree char *blob = NULL;
	struct stat st;

	make_raw("disk.raw");
	assert_int_equal(import(s, &request, &image, NULL), 0);
	blob = path_format("store/blobs/%s", image->manifest->parts[0].digest);
	assert_int_equal(stat(blob, &st), 0);
	assert_true(st.st_blocks * 512 < 4 << 20);
}

static void an_image_that_names_another_file_is_refused(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct import_request request = {.source = "overlay.qcow2"};

	make_qcow2("disk.qcow2");
	run((const char *const[]){"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b",
		"disk.qcow2", "overlay.qcow2", NULL});
	assert_refused(s, &request, -EINVAL, "backing file");
	run((const char *const[]){"qemu-img", "create", "-q", "-f", "qcow2", "-o",
		"data_file=secret.raw", "overlay.qcow2", "16M", NULL});
	assert_refused(s, &request, -EINVAL, "another file");
	assert_int_equal(count_images(s), 0);
}

static void a_damaged_qcow2_image_is_refused(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct import_request request = {.source = "disk.qcow2"};
	uint8_t garbage[8] = {0x80, 0, 0, 0xff, 0xff, 0xff, 0, 0};
	uint64_t offset = 0;
	int fd;

	make_qcow2("disk.qcow2");
	fd = open("disk.qcow2", O_RDWR);
	assert_int_equal(pread(fd, &offset, 8, 40), 8); /* of the level-1 table */
	assert_int_equal(pwrite(fd, garbage, 8, (off_t)__builtin_bswap64(offset)), 8);
	close(fd);
	assert_refused(s, &request, -EBADMSG, "damaged");
	assert_int_equal(count_images(s), 0);
}

static void what_is_no_image_is_refused(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct import_request none = {.source = "none"}, directory = {.source = "."},
			      fifo = {.source = "fifo"}, text = {.source = "text"},
			      ftp = {.source = "ftp://host/file"};

	assert_int_equal(file_replace(AT_FDCWD, "text", "some text", 9, 0644), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_refused(s, &none, -ENOENT, "'none'");
	assert_refused(s, &directory, -EINVAL, "'.'");
	assert_refused(s, &fifo, -EINVAL, "regular file");
	assert_refused(s, &text, -EINVAL, "boot loader");
	assert_refused(s, &ftp, -EINVAL, "http");
}

static void the_format_asked_for_must_be_the_files(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct import_request request = {.source = "disk.raw", .format = "qcow2"};

	make_raw("disk.raw");
	assert_refused(s, &request, -EINVAL, "is raw, not qcow2");
}

static void the_checksum_asked_for_must_be_the_files(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];
	struct import_request request = {.source = "disk.raw", .sha256 = digest};
	struct image *image AUTO(image_freep) = NULL;
	int fd;

	make_raw("disk.raw");
	memset(digest, 'A', 64);
	digest[64] = '\0';
	assert_refused(s, &request, -EBADMSG, digest);
	digest[63] = '\0';
	assert_refused(s, &request, -EINVAL, "64");
	assert_int_equal(count_images(s), 0);
	fd = open("disk.raw", O_RDONLY);
	assert_int_equal(digest_file(fd, digest), 0);
	close(fd);
	assert_int_equal(import(s, &request, &image, NULL), 0);
}

static void names_are_made_from_sources(void **state)
{
	static const char *const names[][2] = {
		{"/x/Debian-12.qcow2", "debian-12"},
		{"https://host/a/b/noble-server-cloudimg-amd64.img?x=/y.raw",
			"noble-server-cloudimg-amd64"},
		{"el 9 (copy).QCOW2", "el-9--copy-"},
		{".qcow2", "image"},
		{"/x/", "image"},
		{"a.b.raw", "a.b"},
		{"\xc3\xa9.raw", "image"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autofree char *name = import_name(names[i][0]);
		autofree char *parsed = NULL, *tag = NULL;

		assert_int_equal(store_parse_reference(name, &parsed, &tag, NULL), 0);
		assert_string_equal(name, names[i][1]);
	}
}

static void a_probe_is_recorded_under_the_same_name(void **state)
{
	static const char *const gateways[] = {"9p", "bad name", "virtiofs", NULL};
	struct store *s AUTO(store_freep) = sample_open();
	struct import_request request = {.source = "disk.raw", .name = "a", .tag = "1"};
	struct image *image AUTO(image_freep) = NULL, *found AUTO(image_freep) = NULL;
	char digest[DIGEST_HEX_SIZE];

	make_raw("disk.raw");
	assert_int_equal(import(s, &request, &image, NULL), 0);
	assert_int_equal(
		import_set_probe(s, image, gateways, "Debian\n12", "0.1", digest, NULL), 0);
	assert_string_not_equal(digest, image->digest);
	assert_int_equal(store_find(s, "a:1", &found, NULL), 0);
	assert_string_equal(found->digest, digest);
	assert_true(manifest_has_gateway(found->manifest, "virtiofs"));
	assert_null(found->manifest->gateways[2]);
	assert_string_equal(found->manifest->os, "Debian?12");
	assert_string_equal(found->manifest->parts[0].digest, image->manifest->parts[0].digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_formats_are_imported_as_they_are),
		cmocka_unit_test(holes_stay_holes),
		cmocka_unit_test(an_image_that_names_another_file_is_refused),
		cmocka_unit_test(a_damaged_qcow2_image_is_refused),
		cmocka_unit_test(what_is_no_image_is_refused),
		cmocka_unit_test(the_format_asked_for_must_be_the_files),
		cmocka_unit_test(the_checksum_asked_for_must_be_the_files),
		cmocka_unit_test(names_are_made_from_sources),
		cmocka_unit_test(a_probe_is_recorded_under_the_same_name),
	};
	struct CMUnitTest run_tests[ARRAY_SIZE(tests)];

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		run_tests[i] = tests[i];
		run_tests[i].setup_func = sample_setup;
		run_tests[i].teardown_func = sample_teardown;
	}
	return cmocka_run_group_tests(run_tests, NULL, NULL);
}
