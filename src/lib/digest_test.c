#include "lib/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/file.h"

/* From FIPS 180-2, appendix B, and of nothing. */
#define DIGEST_ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DIGEST_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void bytes_have_the_standard_digest(void **state)
{
	char hex[DIGEST_HEX_SIZE];

	assert_int_equal(digest_bytes("abc", 3, hex), 0);
	assert_string_equal(hex, DIGEST_ABC);
	assert_int_equal(digest_bytes("", 0, hex), 0);
	assert_string_equal(hex, DIGEST_EMPTY);
}

static void file_is_hashed_from_its_start_and_its_offset_kept(void **state)
{
	autoclose int fd = file_open_temporary("/tmp");
	char hex[DIGEST_HEX_SIZE];

	assert_int_equal(digest_file(fd, hex), 0);
	assert_string_equal(hex, DIGEST_EMPTY);
	assert_int_equal(write(fd, "abc", 3), 3);
	lseek(fd, 2, SEEK_SET);
	assert_int_equal(digest_file(fd, hex), 0);
	assert_string_equal(hex, DIGEST_ABC);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 2);
}

static void sha512_is_another_digest(void **state)
{
	autoclose int fd = file_open_temporary("/tmp");
	char hex[DIGEST_SHA512_HEX_SIZE];

	assert_int_equal(write(fd, "abc", 3), 3);
	assert_int_equal(digest_file_sha512(fd, hex), 0);
	assert_string_equal(hex,
		"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
}

/* The digest of the same bytes, all held in memory. */
static void digest_of_content(int fd, size_t size, char hex[DIGEST_HEX_SIZE])
{
	autofree char *content = malloc(size);

	assert_non_null(content);
	assert_int_equal(pread(fd, content, size, 0), size);
	assert_int_equal(digest_bytes(content, size, hex), 0);
}

static void holes_count_as_zeros(void **state)
{
	const size_t size = (9 << 20) + 77;
	autoclose int fd = file_open_temporary("/tmp");
	char hex[DIGEST_HEX_SIZE], expected[DIGEST_HEX_SIZE];

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	digest_of_content(fd, size, expected);
	assert_int_equal(digest_file(fd, hex), 0);
	assert_string_equal(hex, expected);
	assert_int_equal(pwrite(fd, "middle", 6, (4 << 20) + 5), 6);
	assert_int_equal(pwrite(fd, "end", 3, (off_t)size - 3), 3);
	digest_of_content(fd, size, expected);
	assert_int_equal(digest_file(fd, hex), 0);
	assert_string_equal(hex, expected);
	assert_int_equal(digest_device(fd, size, hex), 0);
	assert_string_equal(hex, expected);
	assert_int_equal(digest_device(fd, size + 1, hex), -EIO);
}

static void what_cannot_be_hashed_is_an_error(void **state)
{
	autoclose int dir = open("/tmp", O_RDONLY | O_DIRECTORY);
	char hex[DIGEST_HEX_SIZE] = "untouched";
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(digest_file(ends[0], hex), -ESPIPE);
	assert_int_equal(digest_file(dir, hex), -EISDIR);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(digest_file(ends[0], hex), -EBADF);
	assert_string_equal(hex, "untouched");
}

static void only_64_lower_case_hex_digits_are_a_digest(void **state)
{
	assert_true(digest_is_hex(DIGEST_ABC));
	assert_false(digest_is_hex(""));
	assert_false(digest_is_hex(DIGEST_ABC "0"));
	assert_false(digest_is_hex(&DIGEST_ABC[1]));
	assert_false(
		digest_is_hex("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"));
	assert_false(
		digest_is_hex("../816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_have_the_standard_digest),
		cmocka_unit_test(file_is_hashed_from_its_start_and_its_offset_kept),
		cmocka_unit_test(sha512_is_another_digest),
		cmocka_unit_test(holes_count_as_zeros),
		cmocka_unit_test(what_cannot_be_hashed_is_an_error),
		cmocka_unit_test(only_64_lower_case_hex_digits_are_a_digest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
