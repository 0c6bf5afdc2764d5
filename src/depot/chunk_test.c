#include "depot/chunk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <zstd.h>

#include <cmocka.h>

#define SIZE ((size_t)80 * 1024)

/* Text that compresses, then bytes that do not. */
static void fill(uint8_t *data, size_t size)
{
	uint32_t x = 1;

	for (size_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = i < size / 2 ? (uint8_t)("abcd"[i % 4]) : (uint8_t)(x >> 24);
	}
}

static void what_is_packed_is_unpacked(void **state)
{
	static const size_t sizes[] = {1, 4095, SIZE, CHUNK_SIZE_MAX};
	autofree uint8_t *data = malloc(CHUNK_SIZE_MAX), *back = malloc(CHUNK_SIZE_MAX);
	struct error err = {0};

	fill(data, CHUNK_SIZE_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct buffer packed AUTO(buffer_done) = {0};
		uint8_t id[CHUNK_ID_SIZE];

		assert_int_equal(chunk_id(data, sizes[i], id), 0);
		assert_int_equal(chunk_pack(data, sizes[i], &packed), 0);
		assert_true(packed.len <= CHUNK_PACKED_MAX);
		if (chunk_unpack(id, buffer_head(&packed), packed.len, back, sizes[i], &err) < 0)
			fail_msg("%zu bytes: %s", sizes[i], err.text);
		assert_memory_equal(data, back, sizes[i]);
	}
}

static void too_large_a_chunk_is_not_packed(void **state)
{
	struct buffer packed AUTO(buffer_done) = {0};
	autofree uint8_t *data = calloc(1, CHUNK_SIZE_MAX + 1);

	assert_int_equal(chunk_pack(data, CHUNK_SIZE_MAX + 1, &packed), -EINVAL);
}

static void assert_refused(
	const uint8_t *id, const struct buffer *packed, size_t size, const char *because)
{
	autofree uint8_t *back = malloc(size ? size : 1);
	struct error err = {0};

	assert_int_equal(
		chunk_unpack(id, buffer_head(packed), packed->len, back, size, &err), -EBADMSG);
	if (!strstr(err.text, because))
		fail_msg("'%s' does not say '%s'", err.text, because);
}

static void other_bytes_than_the_id_says_are_refused(void **state)
{
	struct buffer packed AUTO(buffer_done) = {0};
	autofree uint8_t *data = malloc(SIZE);
	uint8_t id[CHUNK_ID_SIZE];

	fill(data, SIZE);
	assert_int_equal(chunk_id(data, SIZE, id), 0);
	data[SIZE - 1] ^= 1;
	assert_int_equal(chunk_pack(data, SIZE, &packed), 0);
	assert_refused(id, &packed, SIZE, "SHA-256");
}

static void other_sizes_than_promised_are_refused(void **state)
{
	struct buffer packed AUTO(buffer_done) = {0};
	autofree uint8_t *data = malloc(SIZE);
	uint8_t id[CHUNK_ID_SIZE];

	fill(data, SIZE);
	assert_int_equal(chunk_id(data, SIZE, id), 0);
	assert_int_equal(chunk_pack(data, SIZE, &packed), 0);
	assert_refused(id, &packed, SIZE - 1, "does not decompress to");
	assert_refused(id, &packed, SIZE + 1, "instead of");
	assert_refused(id, &packed, 0, "decompress");
	assert_refused(id, &packed, CHUNK_SIZE_MAX + 1, "too large");
}

/* 1 GiB of zeros in 33 KB: that is neither unpacked nor given memory. */
static void a_bomb_does_not_go_off(void **state)
{
	const size_t size = (size_t)1 << 30, block = (size_t)1 << 20;
	struct buffer packed AUTO(buffer_done) = {0};
	ZSTD_CCtx *context = ZSTD_createCCtx();
	autofree uint8_t *zeros = calloc(1, block);
	uint8_t id[CHUNK_ID_SIZE] = {0};
	ZSTD_outBuffer out = {.dst = buffer_reserve(&packed, block), .size = block};

	ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27);
	for (size_t done = 0; done < size; done += block) {
		ZSTD_inBuffer in = {.src = zeros, .size = block};

		ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue);
	}
	ZSTD_compressStream2(context, &out, &(ZSTD_inBuffer){0}, ZSTD_e_end);
	ZSTD_freeCCtx(context);
	buffer_commit(&packed, out.pos);
	assert_in_range(packed.len, 1, block - 1);
	assert_refused(id, &packed, SIZE, "does not decompress to");
}

static void garbage_is_refused(void **state)
{
	struct buffer packed AUTO(buffer_done) = {0}, cut AUTO(buffer_done) = {0};
	autofree uint8_t *data = malloc(SIZE);
	uint8_t id[CHUNK_ID_SIZE];

	fill(data, SIZE);
	assert_int_equal(chunk_id(data, SIZE, id), 0);
	assert_refused(id, &packed, SIZE, "not one frame");
	buffer_append(&packed, data, SIZE);
	assert_refused(id, &packed, SIZE, "not one frame");
	buffer_consume(&packed, SIZE);
	assert_int_equal(chunk_pack(data, SIZE, &packed), 0);
	buffer_append(&cut, buffer_head(&packed), packed.len - 1);
	assert_refused(id, &cut, SIZE, "not one frame");
	buffer_append(&packed, "x", 1);
	assert_refused(id, &packed, SIZE, "not one frame");
}

/* As casync and zstd write it when they do not know what is to come. */
static void frames_that_do_not_tell_their_size_are_taken(void **state)
{
	struct buffer packed AUTO(buffer_done) = {0};
	autofree uint8_t *data = malloc(SIZE), *back = malloc(SIZE);
	ZSTD_CCtx *context = ZSTD_createCCtx();
	uint8_t id[CHUNK_ID_SIZE];
	ZSTD_outBuffer out = {.dst = buffer_reserve(&packed, 2 * SIZE), .size = 2 * SIZE};
	ZSTD_inBuffer in = {.src = data, .size = SIZE};

	fill(data, SIZE);
	ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
	ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue);
	assert_int_equal(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
	ZSTD_freeCCtx(context);
	buffer_commit(&packed, out.pos);
	assert_true(ZSTD_getFrameContentSize(buffer_head(&packed), packed.len) ==
		    ZSTD_CONTENTSIZE_UNKNOWN);
	assert_int_equal(chunk_id(data, SIZE, id), 0);
	assert_int_equal(chunk_unpack(id, buffer_head(&packed), packed.len, back, SIZE, NULL), 0);
	assert_memory_equal(data, back, SIZE);
}

static void zeros_are_recognised(void **state)
{
	autofree uint8_t *data = calloc(1, SIZE);

	assert_true(chunk_is_zeros(data, 0));
	assert_true(chunk_is_zeros(data, 1));
	assert_true(chunk_is_zeros(data, SIZE));
	data[SIZE - 1] = 1;
	assert_false(chunk_is_zeros(data, SIZE));
	assert_true(chunk_is_zeros(data, SIZE - 1));
	data[0] = 1;
	assert_false(chunk_is_zeros(data, 1));
}

static void paths_and_names_are_casyncs(void **state)
{
	uint8_t id[CHUNK_ID_SIZE], back[CHUNK_ID_SIZE];
	char path[CHUNK_PATH_SIZE];

	assert_int_equal(chunk_id("abc", 3, id), 0);
	chunk_format_path(id, path);
	assert_string_equal(path,
		"ba78/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.cacnk");
	assert_int_equal(chunk_parse_name(path + 5, back), 0);
	assert_memory_equal(id, back, CHUNK_ID_SIZE);
	assert_int_equal(chunk_parse_name(path, back), -EINVAL);
	assert_int_equal(chunk_parse_name("ba78.cacnk", back), -EINVAL);
	path[5] = 'B';
	assert_int_equal(chunk_parse_name(path + 5, back), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_packed_is_unpacked),
		cmocka_unit_test(too_large_a_chunk_is_not_packed),
		cmocka_unit_test(other_bytes_than_the_id_says_are_refused),
		cmocka_unit_test(other_sizes_than_promised_are_refused),
		cmocka_unit_test(a_bomb_does_not_go_off),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(frames_that_do_not_tell_their_size_are_taken),
		cmocka_unit_test(zeros_are_recognised),
		cmocka_unit_test(paths_and_names_are_casyncs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
