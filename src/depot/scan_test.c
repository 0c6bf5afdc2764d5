#include "depot/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include <cmocka.h>

#include "depot/chunker.h"
#include "lib/file.h"

#define MIB ((size_t)1024 * 1024)

/* A sparse file: data, a hole, data that begins in the middle of nothing, a hole to the end. */
#define SIZE      (40 * MIB + 77)
#define SECOND_AT (21 * MIB + 8 * 4096)

static int new_file(void)
{
	autofree uint8_t *data = malloc(9 * MIB);
	autoclose int fd = file_open_temporary("/tmp");
	uint32_t x = 1;

	for (size_t i = 0; i < 9 * MIB; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
	assert_int_equal(ftruncate(fd, SIZE), 0);
	assert_int_equal(pwrite(fd, data, 9 * MIB, 0), 9 * MIB);
	assert_int_equal(pwrite(fd, data, 3 * MIB, SECOND_AT), 3 * MIB);
	return TAKE_FD(fd);
}

static struct caibx *scan(int fd, unsigned threads)
{
	const struct scan request = {.threads = threads};
	struct caibx *x = NULL;
	struct error err = {0};

	if (scan_file(fd, SIZE, &request, &x, &err) < 0)
		fail_msg("%s", err.text);
	return x;
}

static void every_chunk_has_the_id_of_its_bytes(void **state)
{
	autoclose int fd = new_file();
	struct caibx *x AUTO(caibx_freep) = scan(fd, 1), *again AUTO(caibx_freep) = NULL;
	autofree uint8_t *data = malloc(CHUNK_SIZE_MAX);
	struct buffer bytes AUTO(buffer_done) = {0};
	uint8_t id[CHUNK_ID_SIZE];
	uint64_t end = 0;

	assert_int_equal(x->size, SIZE);
	for (size_t i = 0; i < x->count; i++) {
		const struct caibx_chunk *c = &x->chunks[i];

		assert_int_equal(c->offset, end);
		assert_int_equal(pread(fd, data, c->size, (off_t)c->offset), c->size);
		assert_int_equal(chunk_id(data, c->size, id), 0);
		assert_memory_equal(c->id, id, CHUNK_ID_SIZE);
		end += c->size;
	}
	assert_int_equal(end, SIZE);
	/* It is a sound index. */
	assert_int_equal(caibx_format(x, &bytes), 0);
	assert_int_equal(caibx_parse(buffer_head(&bytes), bytes.len, &again, NULL), 0);
}

static void assert_same(const struct caibx *a, const struct caibx *b)
{
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		assert_int_equal(a->chunks[i].size, b->chunks[i].size);
		assert_memory_equal(a->chunks[i].id, b->chunks[i].id, CHUNK_ID_SIZE);
	}
}

static void threads_make_no_difference(void **state)
{
	autoclose int fd = new_file();
	struct caibx *one AUTO(caibx_freep) = scan(fd, 1), *many AUTO(caibx_freep) = scan(fd, 5);

	assert_same(one, many);
}

/* The same bytes, written out. */
static void holes_make_no_difference(void **state)
{
	autoclose int fd = new_file(), full = file_open_temporary("/tmp");
	autofree uint8_t *data = malloc(SIZE);
	struct caibx *a AUTO(caibx_freep) = scan(fd, 1), *b AUTO(caibx_freep) = NULL;

	assert_int_equal(pread(fd, data, SIZE, 0), SIZE);
	assert_int_equal(write(full, data, SIZE), SIZE);
	b = scan(full, 1);
	assert_same(a, b);
}

struct seen {
	atomic_ullong bytes;
	uint64_t done;
	bool stop;
};

/* In parentheses it is ours, not the macro of cmocka. */
static int on_chunk(
	const struct caibx_chunk *chunk, const void *data, void *userdata, struct error *err)
{
	struct seen *seen = userdata;
	uint8_t id[CHUNK_ID_SIZE];

	chunk_id(data, chunk->size, id);
	if (memcmp(id, chunk->id, CHUNK_ID_SIZE) != 0)
		return (fail)(err, -EBADMSG, "another id");
	atomic_fetch_add(&seen->bytes, chunk->size);
	return seen->stop && seen->bytes > 10 * MIB ? (fail)(err, -ENOSPC, "enough") : 0;
}

static void on_bytes(uint64_t done, void *userdata)
{
	struct seen *seen = userdata;

	assert_true(done >= seen->done);
	seen->done = done;
}

static void all_is_seen_by_the_callbacks(void **state)
{
	autoclose int fd = new_file();
	struct seen seen = {0};
	const struct scan request = {
		.threads = 3, .on_chunk = on_chunk, .on_bytes = on_bytes, .userdata = &seen};
	struct caibx *x AUTO(caibx_freep) = NULL;
	struct error err = {0};

	assert_int_equal(scan_file(fd, SIZE, &request, &x, &err), 0);
	assert_int_equal(seen.bytes, SIZE);
	assert_int_equal(seen.done, SIZE);
}

static void what_a_callback_returns_ends_it(void **state)
{
	autoclose int fd = new_file();
	struct seen seen = {.stop = true};
	const struct scan request = {.threads = 3, .on_chunk = on_chunk, .userdata = &seen};
	struct caibx *x = NULL;
	struct error err = {0};

	assert_int_equal(scan_file(fd, SIZE, &request, &x, &err), -ENOSPC);
	assert_string_equal(err.text, "enough");
	assert_null(x);
	assert_true(seen.bytes < SIZE);
}

static void a_file_that_is_shorter_than_promised_is_an_error(void **state)
{
	autoclose int fd = new_file();
	const struct scan request = {.threads = 1};
	struct caibx *x = NULL;
	struct error err = {0};

	assert_int_equal(ftruncate(fd, 10 * MIB), 0);
	assert_int_equal(scan_file(fd, SIZE, &request, &x, &err), -EIO);
}

static void an_empty_file_has_no_chunks(void **state)
{
	autoclose int fd = file_open_temporary("/tmp");
	const struct scan request = {0};
	struct caibx *x AUTO(caibx_freep) = NULL;
	struct error err = {0};

	assert_int_equal(scan_file(fd, 0, &request, &x, &err), 0);
	assert_int_equal(x->count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_chunk_has_the_id_of_its_bytes),
		cmocka_unit_test(threads_make_no_difference),
		cmocka_unit_test(holes_make_no_difference),
		cmocka_unit_test(all_is_seen_by_the_callbacks),
		cmocka_unit_test(what_a_callback_returns_ends_it),
		cmocka_unit_test(a_file_that_is_shorter_than_promised_is_an_error),
		cmocka_unit_test(an_empty_file_has_no_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
