#include "image/kernel.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/wire.h"

#define ELF_SIZE  200000
#define SETUP     (5 * 512) /* boot sector and four setup sectors */
#define NOTE_AT   0x1000
#define NOTE_SIZE (12 + 4 + 8)

/* An ELF file that has what is looked at: one note segment with the PVH entry. */
static uint8_t *make_elf(uint32_t note_type)
{
	Elf64_Ehdr header = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, 1},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_phoff = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	Elf64_Phdr segments[2] = {{.p_type = PT_LOAD},
		{.p_type = PT_NOTE, .p_offset = NOTE_AT, .p_filesz = 12 + NOTE_SIZE + 4}};
	uint32_t note[] = {4, 4, 1, 0x00554e47, 0}; /* another one comes first */
	uint32_t pvh[] = {4, 4, note_type, 0x006e6558, 0x1000000};
	uint8_t *elf = calloc(1, ELF_SIZE);

	for (size_t i = NOTE_AT * 2; i < ELF_SIZE; i++)
		elf[i] = (uint8_t)(i * i >> 3);
	memcpy(elf, &header, sizeof(header));
	memcpy(elf + sizeof(header), segments, sizeof(segments));
	memcpy(elf + NOTE_AT, note, sizeof(note));
	memcpy(elf + NOTE_AT + sizeof(note), pvh, sizeof(pvh));
	return elf;
}

static int open_with(const void *data, size_t length)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, data, length), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static char *read_all(int fd, size_t *ret_length)
{
	char path[32], *data;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(file_read(AT_FDCWD, path, 64 * 1024 * 1024, &data, ret_length), 0);
	return data;
}

/* Runs a compressor; false if it is not installed. */
static bool compress(
	const char *const *argv, const void *data, size_t length, char **ret, size_t *ret_length)
{
	autoclose int in = open_with(data, length);
	autoclose int out = memfd_create("test", MFD_CLOEXEC);
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};
	int r;

	spec.argv = argv;
	spec.stdin_fd = in;
	spec.stdout_fd = out;
	r = child_run(&spec, 60000, &err);
	if (r == -ENOENT)
		return false;
	if (r < 0)
		fail_msg("%s", err.text);
	*ret = read_all(out, ret_length);
	return true;
}

/* A bzImage around a payload; with `append` its size follows, as in kernels compressed by xz, lz4
 * and zstd. */
static uint8_t *make_image(const void *payload, size_t length, bool append, size_t *ret_length)
{
	size_t whole = length + (append ? 4 : 0);
	uint8_t *image = calloc(1, SETUP + 64 + whole + 100);

	image[0x1f1] = 4;
	le16_store(image + 0x1fe, 0xaa55);
	memcpy(image + 0x202, "HdrS", 4);
	le16_store(image + 0x206, 0x020f);
	le32_store(image + 0x248, 64);
	le32_store(image + 0x24c, (uint32_t)whole);
	memcpy(image + SETUP + 64, payload, length);
	if (append)
		le32_store(image + SETUP + 64 + length, ELF_SIZE);
	*ret_length = SETUP + 64 + whole + 100;
	return image;
}

static const struct {
	const char *argv[5];
	bool append;
} compressors[] = {
	{{"xz", "-c", "--check=crc32", NULL}, true},
	{{"lz4", "-l", "-c", NULL}, true},
	{{"zstd", "-cq", NULL}, true},
	{{"gzip", "-nc", NULL}, false},
};

static void kernels_of_every_compression_are_unpacked(void **state)
{
	autofree uint8_t *elf = make_elf(18);
	size_t tried = 0;

	for (size_t i = 0; i < ARRAY_SIZE(compressors); i++) {
		autofree char *payload = NULL, *unpacked = NULL;
		autofree uint8_t *image = NULL;
		autoclose int in = -1, out = memfd_create("out", MFD_CLOEXEC);
		struct error err = {0};
		size_t length;

		if (!compress(compressors[i].argv, elf, ELF_SIZE, &payload, &length))
			continue;
		image = make_image(payload, length, compressors[i].append, &length);
		in = open_with(image, length);
		if (kernel_extract(in, out, &err) < 0)
			fail_msg("%s: %s", compressors[i].argv[0], err.text);
		unpacked = read_all(out, &length);
		assert_int_equal(length, ELF_SIZE);
		assert_memory_equal(unpacked, elf, ELF_SIZE);
		tried++;
	}
	assert_true(tried > 0);
}

static int extract(const void *image, size_t length, struct error *err)
{
	autoclose int in = open_with(image, length), out = memfd_create("out", MFD_CLOEXEC);

	return kernel_extract(in, out, err);
}

static uint8_t *gzip_image(const void *data, size_t size, size_t *ret_length)
{
	autofree char *payload = NULL;
	size_t length;

	assert_true(compress(compressors[3].argv, data, size, &payload, &length));
	return make_image(payload, length, false, ret_length);
}

static void a_kernel_without_a_pvh_entry_is_refused(void **state)
{
	autofree uint8_t *elf = make_elf(17), *image = NULL;
	struct error err = {0};
	size_t length;

	image = gzip_image(elf, ELF_SIZE, &length);
	assert_int_equal(extract(image, length, &err), -EINVAL);
	assert_non_null(strstr(err.text, "CONFIG_PVH"));
}

static void a_payload_that_is_no_kernel_is_refused(void **state)
{
	autofree uint8_t *image = NULL;
	static const char text[4096] = "not an ELF file";
	struct error err = {0};
	size_t length;

	image = gzip_image(text, sizeof(text), &length);
	assert_int_equal(extract(image, length, &err), -EINVAL);
	assert_non_null(strstr(err.text, "ELF"));
}

/* A payload that unpacks to more than it says must not fill the disk. */
static void a_payload_of_another_size_than_it_says_is_refused(void **state)
{
	autofree uint8_t *elf = make_elf(18), *image = NULL;
	struct error err = {0};
	size_t length, end;

	image = gzip_image(elf, ELF_SIZE, &length);
	end = SETUP + 64 + le32_load(image + 0x24c) - 4;
	assert_int_equal(le32_load(image + end), ELF_SIZE);
	le32_store(image + end, 100000);
	assert_int_equal(extract(image, length, &err), -EINVAL);
	assert_non_null(strstr(err.text, "size"));
	le32_store(image + end, ELF_SIZE + 1);
	assert_true(extract(image, length, NULL) < 0);
}

static void a_damaged_payload_is_refused(void **state)
{
	autofree uint8_t *elf = make_elf(18), *image = NULL;
	size_t length;

	image = gzip_image(elf, ELF_SIZE, &length);
	for (size_t i = 0; i < 200; i++)
		image[SETUP + 64 + 1000 + i] ^= 0x55;
	assert_true(extract(image, length, NULL) < 0);
}

static void hostile_headers_are_refused(void **state)
{
	static const struct {
		size_t offset;
		uint32_t value;
	} changes[] = {
		{0x1fe, 0x20000000}, /* no boot flag */
		{0x202, 0x53726449}, /* no magic */
		{0x204, 0x02070000}, /* too old; also half of the magic */
		{0x248, 0xffffffff}, /* payload beyond the file */
		{0x248, 0xfffff5c0}, /* ... and round again in 32 bits */
		{0x24c, 0xffffffff}, /* longer than the file */
		{0x24c, 0},          /* empty */
		{0x24c, 3},          /* shorter than the size at its end */
		{SETUP + 64, 0},     /* unknown compression */
		{0x1f0, 0x0000ff00}, /* setup sectors beyond the file */
	};
	autofree uint8_t *elf = make_elf(18), *image = NULL;
	struct kernel_payload payload;
	size_t length;

	image = gzip_image(elf, 20000, &length);
	assert_int_equal(kernel_parse(image, length, &payload, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		uint32_t was = le32_load(image + changes[i].offset);
		struct error err = {0};

		le32_store(image + changes[i].offset, changes[i].value);
		if (kernel_parse(image, length, &payload, &err) != -EINVAL)
			fail_msg("change %zu was accepted", i);
		assert_true(strlen(err.text) > 0);
		le32_store(image + changes[i].offset, was);
	}
}

static void short_files_are_refused(void **state)
{
	autofree uint8_t *elf = make_elf(18), *image = NULL;
	struct kernel_payload payload;
	size_t length;

	image = gzip_image(elf, 20000, &length);
	for (size_t i = 0; i < SETUP + 64 + 16; i++)
		assert_int_equal(kernel_parse(image, i, &payload, NULL), -EINVAL);
	assert_int_equal(extract(image, 0, NULL), -EINVAL);
}

/* Every header field at every extreme: refused or accepted, but nothing is read beyond the end (run
 * under the sanitizers). */
static void hostile_elf_files_do_no_harm(void **state)
{
	static const uint64_t extremes[] = {0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff,
		UINT64_MAX, UINT64_MAX / 2, ELF_SIZE, ELF_SIZE - 1};
	autofree uint8_t *elf = make_elf(18);

	assert_int_equal(kernel_check_pvh(elf, ELF_SIZE, NULL), 0);
	for (size_t at = 0; at + 8 < NOTE_AT + 64; at += at == 256 ? NOTE_AT - 256 : 1)
		for (size_t i = 0; i < ARRAY_SIZE(extremes); i++) {
			uint64_t was = le64_load(elf + at);
			autofree uint8_t *exact = NULL;

			le64_store(elf + at, extremes[i]);
			exact = malloc(NOTE_AT + 64);
			memcpy(exact, elf, NOTE_AT + 64);
			(void)kernel_check_pvh(exact, NOTE_AT + 64, NULL);
			le64_store(elf + at, was);
		}
	for (size_t length = 0; length < NOTE_AT + 32; length += 7)
		assert_int_equal(kernel_check_pvh(elf, length, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernels_of_every_compression_are_unpacked),
		cmocka_unit_test(a_kernel_without_a_pvh_entry_is_refused),
		cmocka_unit_test(a_payload_that_is_no_kernel_is_refused),
		cmocka_unit_test(a_payload_of_another_size_than_it_says_is_refused),
		cmocka_unit_test(a_damaged_payload_is_refused),
		cmocka_unit_test(hostile_headers_are_refused),
		cmocka_unit_test(short_files_are_refused),
		cmocka_unit_test(hostile_elf_files_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
