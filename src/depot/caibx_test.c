#include "depot/caibx.h"

#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define ROW 40

static struct caibx_chunk chunks[] = {
	{.offset = 0, .size = 65536, .id = {1}},
	{.offset = 65536, .size = 16384, .id = {2}},
	{.offset = 81920, .size = 100, .id = {3}},
};

static const struct caibx sample = {
	.size = 82020,
	.min = 16384,
	.average = 81920,
	.max = 262144,
	.count = ARRAY_SIZE(chunks),
	.chunks = chunks,
};

static void set_number(struct buffer *b, size_t at, uint64_t value)
{
	uint64_t little = htole64(value);

	assert_true(at + sizeof(little) <= b->len);
	memcpy(b->data + b->start + at, &little, sizeof(little));
}

static void assert_refused(const struct buffer *b, const char *because)
{
	struct caibx *x = NULL;
	struct error err = {0};

	assert_int_equal(caibx_parse(buffer_head(b), b->len, &x, &err), -EBADMSG);
	assert_null(x);
	if (!strstr(err.text, because))
		fail_msg("'%s' does not say '%s'", err.text, because);
}

static void what_is_written_is_read(void **state)
{
	struct buffer b AUTO(buffer_done) = {0}, again AUTO(buffer_done) = {0};
	struct caibx *x AUTO(caibx_freep) = NULL;

	assert_int_equal(caibx_format(&sample, &b), 0);
	assert_int_equal(b.len, caibx_length(&sample));
	assert_int_equal(caibx_parse(buffer_head(&b), b.len, &x, NULL), 0);
	assert_int_equal(x->size, sample.size);
	assert_int_equal(x->min, sample.min);
	assert_int_equal(x->average, sample.average);
	assert_int_equal(x->max, sample.max);
	assert_int_equal(x->count, 3);
	for (size_t i = 0; i < x->count; i++) {
		assert_int_equal(x->chunks[i].offset, chunks[i].offset);
		assert_int_equal(x->chunks[i].size, chunks[i].size);
		assert_memory_equal(x->chunks[i].id, chunks[i].id, CHUNK_ID_SIZE);
	}
	assert_int_equal(caibx_format(x, &again), 0);
	assert_int_equal(again.len, b.len);
	assert_memory_equal(buffer_head(&again), buffer_head(&b), b.len);
}

static void a_file_of_nothing_has_no_chunks(void **state)
{
	const struct caibx nothing = {.min = 16384, .average = 65536, .max = 262144};
	struct buffer b AUTO(buffer_done) = {0};
	struct caibx *x AUTO(caibx_freep) = NULL;

	assert_int_equal(caibx_format(&nothing, &b), 0);
	assert_int_equal(caibx_parse(buffer_head(&b), b.len, &x, NULL), 0);
	assert_int_equal(x->count, 0);
	assert_int_equal(x->size, 0);
	assert_null(caibx_find(x, 0));
}

static void the_chunk_of_each_byte_is_found(void **state)
{
	assert_ptr_equal(caibx_find(&sample, 0), &chunks[0]);
	assert_ptr_equal(caibx_find(&sample, 65535), &chunks[0]);
	assert_ptr_equal(caibx_find(&sample, 65536), &chunks[1]);
	assert_ptr_equal(caibx_find(&sample, 81919), &chunks[1]);
	assert_ptr_equal(caibx_find(&sample, 81920), &chunks[2]);
	assert_ptr_equal(caibx_find(&sample, 82019), &chunks[2]);
	assert_null(caibx_find(&sample, 82020));
	assert_null(caibx_find(&sample, UINT64_MAX));
}

/* A number in the index, what it may not be, and what is said then. */
static void wrong_numbers_are_refused(void **state)
{
	const size_t tail = 64 + 3 * ROW;
	const struct {
		size_t at;
		uint64_t value;
		const char *because;
	} changes[] = {
		{0, 49, "not an index"},
		{8, 1, "not an index"},
		{16, UINT64_C(0x2000000000000000), "SHA-512/256"},
		{24, 0, "are accepted"},
		{24, CAIBX_CHUNK_MIN - 1, "are accepted"},
		{24, 81921, "are accepted"},
		{32, 262145, "are accepted"},
		{40, CHUNK_SIZE_MAX + 1, "are accepted"},
		{40, UINT64_MAX, "are accepted"},
		{48, 0, "not an index"},
		{56, 0, "not an index"},
		{64, 0, "chunk 0"},
		{64, 16383, "chunk 0"},
		{64, 262145, "chunk 0"},
		{64, UINT64_MAX, "chunk 0"},
		{64 + ROW, 65536, "chunk 1"},
		{64 + ROW, 65535, "chunk 1"},
		{64 + ROW, 65536 + 16383, "chunk 1"},
		{64 + 2 * ROW, 81920, "chunk 2"},
		{64 + 2 * ROW, 81919, "chunk 2"},
		{64 + 2 * ROW, CAIBX_SIZE_MAX + 1, "chunk 2"},
		{tail, 1, "end"},
		{tail + 8, 1, "end"},
		{tail + 16, 49, "end"},
		{tail + 24, 16 + 5 * ROW, "end"},
		{tail + 32, 0, "end"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct buffer b AUTO(buffer_done) = {0};

		assert_int_equal(caibx_format(&sample, &b), 0);
		set_number(&b, changes[i].at, changes[i].value);
		assert_refused(&b, changes[i].because);
	}
}

static void too_short_and_too_long_ones_are_refused(void **state)
{
	struct buffer b AUTO(buffer_done) = {0};

	assert_int_equal(caibx_format(&sample, &b), 0);
	while (b.len > 0) {
		b.len--;
		assert_refused(&b, "index");
	}
	assert_int_equal(caibx_format(&sample, &b), 0);
	buffer_append(&b, "x", 1);
	assert_refused(&b, "no length");
	buffer_append(&b, chunks, ROW - 1);
	assert_refused(&b, "end");
}

static void a_file_larger_than_any_is_refused(void **state)
{
	const size_t count = CAIBX_BYTES_MAX / ROW;
	struct buffer b AUTO(buffer_done) = {0};
	autofree struct caibx_chunk *many = calloc(count, sizeof(*many));
	struct caibx x = {.min = 1024, .average = 1024, .max = 1024, .chunks = many};

	for (; x.count < count; x.count++)
		many[x.count] = (struct caibx_chunk){.offset = x.count * 1024, .size = 1024};
	assert_int_equal(caibx_format(&x, &b), 0);
	assert_refused(&b, "no length");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(a_file_of_nothing_has_no_chunks),
		cmocka_unit_test(the_chunk_of_each_byte_is_found),
		cmocka_unit_test(wrong_numbers_are_refused),
		cmocka_unit_test(too_short_and_too_long_ones_are_refused),
		cmocka_unit_test(a_file_larger_than_any_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
