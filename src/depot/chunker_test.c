#include "depot/chunker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define KIB  ((size_t)1024)
#define SIZE (16 * KIB * KIB)

static uint32_t random_state;

static void fill_random(uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		random_state = random_state * 1664525 + 1013904223;
		data[i] = (uint8_t)(random_state >> 24);
	}
}

static uint8_t *new_data(size_t size)
{
	uint8_t *data = calloc(1, size);

	assert_non_null(data);
	random_state = 1;
	fill_random(data, size);
	return data;
}

/* Cuts all of it; ends[i] is the end of chunk i. Returns their number. */
static size_t cut_all(const uint8_t *data, size_t size, size_t *ends)
{
	size_t count = 0;
	bool zeros;

	for (size_t at = 0; at < size;) {
		size_t n = chunker_cut(data + at, MIN_OF(size - at, (size_t)CHUNKER_MAX), &zeros);

		assert_in_range(n, 1, CHUNKER_MAX);
		assert_true(n >= CHUNKER_MIN || at + n == size);
		assert_true(n % CHUNKER_BLOCK == 0 || at + n == size);
		at += n;
		ends[count++] = at;
	}
	return count;
}

static bool has_end(const size_t *ends, size_t count, size_t end)
{
	for (size_t i = 0; i < count; i++)
		if (ends[i] == end)
			return true;
	return false;
}

/* Files of some blocks each, whose last ones are not full, and before that one large file. */
static void chunks_have_about_the_average_that_is_told(void **state)
{
	autofree uint8_t *data = new_data(SIZE);
	autofree size_t *ends = calloc(SIZE / CHUNKER_MIN + 1, sizeof(*ends));
	size_t count = cut_all(data, SIZE, ends), files = 0;

	assert_in_range(SIZE / count, CHUNKER_AVERAGE, 3 * CHUNKER_AVERAGE);
	for (size_t at = 0; at < SIZE; at += (5 + files++ % 16) * CHUNKER_BLOCK)
		memset(data + at + CHUNKER_BLOCK - 100, 0, 100);
	count = cut_all(data, SIZE, ends);
	assert_in_range(SIZE / count, CHUNKER_AVERAGE / 2, CHUNKER_AVERAGE * 3 / 2);
}

static void chunks_end_with_files(void **state)
{
	const size_t file = 10 * CHUNKER_BLOCK;
	autofree uint8_t *data = new_data(SIZE);
	autofree size_t *ends = calloc(SIZE / CHUNKER_MIN + 1, sizeof(*ends));
	size_t count, found = 0;

	for (size_t at = file; at <= SIZE; at += file)
		memset(data + at - 100, 0, 100);
	count = cut_all(data, SIZE, ends);
	for (size_t i = 0; i < count; i++)
		found += ends[i] % file == 0;
	assert_true(found > count * 2 / 3);
}

/* Content that moves by whole blocks is cut alike from some chunks on. */
static void moved_content_is_cut_alike(void **state)
{
	autofree uint8_t *data = new_data(SIZE), *moved = malloc(SIZE);
	autofree size_t *ends = calloc(2 * (SIZE / CHUNKER_MIN + 1), sizeof(*ends));
	size_t *moved_ends = ends + SIZE / CHUNKER_MIN + 1;
	const size_t by = 5 * CHUNKER_BLOCK;
	size_t count = cut_all(data, SIZE, ends), moved_count, found = 0;

	random_state = 7;
	fill_random(moved, by);
	memcpy(moved + by, data, SIZE - by);
	moved_count = cut_all(moved, SIZE, moved_ends);
	for (size_t i = 0; i < count; i++)
		found += has_end(moved_ends, moved_count, ends[i] + by);
	assert_true(found + 10 > count);
}

static void a_changed_block_changes_few_chunks(void **state)
{
	autofree uint8_t *data = new_data(SIZE);
	autofree size_t *ends = calloc(2 * (SIZE / CHUNKER_MIN + 1), sizeof(*ends));
	size_t *new_ends = ends + SIZE / CHUNKER_MIN + 1;
	size_t count = cut_all(data, SIZE, ends), new_count, found = 0;

	data[SIZE / 2] ^= 1;
	new_count = cut_all(data, SIZE, new_ends);
	for (size_t i = 0; i < count; i++)
		found += has_end(new_ends, new_count, ends[i]);
	assert_true(found + 8 > count);
}

static void zeros_are_apart(void **state)
{
	autofree uint8_t *data = calloc(1, CHUNKER_MAX);
	bool zeros = false;

	assert_int_equal(chunker_cut(data, CHUNKER_MAX, &zeros), CHUNKER_MAX);
	assert_true(zeros);
	data[5 * CHUNKER_BLOCK] = 1;
	assert_int_equal(chunker_cut(data, CHUNKER_MAX, &zeros), 5 * CHUNKER_BLOCK);
	assert_true(zeros);
	/* Too few: they go with the data behind them. */
	data[3 * CHUNKER_BLOCK + 4095] = 1;
	assert_true(chunker_cut(data, CHUNKER_MAX, &zeros) >= CHUNKER_MIN);
	assert_false(zeros);
}

static void data_ends_where_zeros_begin(void **state)
{
	autofree uint8_t *data = new_data(CHUNKER_MAX);
	bool zeros;
	size_t n = chunker_cut(data, CHUNKER_MAX, &zeros);

	assert_true(n > 5 * CHUNKER_BLOCK); /* of these bytes */
	memset(data + 4 * CHUNKER_BLOCK, 0, 4 * CHUNKER_BLOCK);
	assert_int_equal(chunker_cut(data, CHUNKER_MAX, &zeros), 4 * CHUNKER_BLOCK);
	assert_false(zeros);
	/* Less data than a chunk may have takes some of them. */
	memset(data + 2 * CHUNKER_BLOCK, 0, 12 * CHUNKER_BLOCK);
	assert_int_equal(chunker_cut(data, CHUNKER_MAX, &zeros), 4 * CHUNKER_BLOCK);
	assert_false(zeros);
}

static void the_end_of_a_file_need_be_no_block(void **state)
{
	autofree uint8_t *data = new_data(CHUNKER_MAX);
	bool zeros;

	assert_int_equal(chunker_cut(data, 100, &zeros), 100);
	assert_false(zeros);
	memset(data, 0, CHUNKER_MIN + 100);
	assert_int_equal(chunker_cut(data, 100, &zeros), 100);
	assert_true(zeros);
	assert_int_equal(chunker_cut(data, CHUNKER_MIN + 100, &zeros), CHUNKER_MIN + 100);
	assert_true(zeros);
	data[CHUNKER_MIN + 50] = 1;
	assert_int_equal(chunker_cut(data, CHUNKER_MIN + 100, &zeros), CHUNKER_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks_have_about_the_average_that_is_told),
		cmocka_unit_test(chunks_end_with_files),
		cmocka_unit_test(moved_content_is_cut_alike),
		cmocka_unit_test(a_changed_block_changes_few_chunks),
		cmocka_unit_test(zeros_are_apart),
		cmocka_unit_test(data_ends_where_zeros_begin),
		cmocka_unit_test(the_end_of_a_file_need_be_no_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
