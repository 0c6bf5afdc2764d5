#include "lib/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void bytes_come_out_in_order(void **state)
{
	struct buffer b AUTO(buffer_done) = {0};
	uint32_t put = 0, got = 0;

	/* Appends seven numbers and takes five, again and again, so that the unread part moves
	 * through the memory and is moved to its start. */
	for (int round = 0; round < 5000; round++) {
		for (int i = 0; i < 7; i++, put++)
			assert_int_equal(buffer_append(&b, &put, sizeof(put)), 0);
		for (int i = 0; i < 5; i++, got++) {
			assert_memory_equal(buffer_head(&b), &got, sizeof(got));
			buffer_consume(&b, sizeof(got));
		}
	}
	assert_int_equal(b.len, (put - got) * sizeof(got));
	for (; got < put; got++) {
		assert_memory_equal(buffer_head(&b), &got, sizeof(got));
		buffer_consume(&b, sizeof(got));
	}
	assert_int_equal(b.len, 0);
}

static void empty_buffer_has_no_head(void **state)
{
	struct buffer b = {0};

	assert_null(buffer_head(&b));
	assert_int_equal(buffer_append(&b, NULL, 0), 0);
	assert_int_equal(buffer_write(&b, -1), 0);
	buffer_done(&b);
	buffer_done(&b);
}

static void memory_does_not_grow_when_content_does_not(void **state)
{
	struct buffer b AUTO(buffer_done) = {0};
	char block[1000] = {0};
	size_t cap;

	assert_int_equal(buffer_append(&b, block, sizeof(block)), 0);
	cap = b.cap;
	for (int i = 0; i < 10000; i++) {
		assert_int_equal(buffer_append(&b, block, sizeof(block)), 0);
		buffer_consume(&b, sizeof(block));
	}
	assert_int_equal(b.cap, cap);
}

static void reserved_room_is_writable_and_committed_in_part(void **state)
{
	struct buffer b AUTO(buffer_done) = {0};
	uint8_t *room;

	assert_int_equal(buffer_append(&b, "ab", 2), 0);
	room = buffer_reserve(&b, 100000);
	assert_non_null(room);
	memset(room, 'x', 100000);
	buffer_commit(&b, 3);
	assert_int_equal(b.len, 5);
	assert_memory_equal(buffer_head(&b), "abxxx", 5);
}

static void read_and_write_pass_through_a_pipe(void **state)
{
	struct buffer out AUTO(buffer_done) = {0}, in AUTO(buffer_done) = {0};
	int ends[2];

	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	assert_int_equal(buffer_read(&in, ends[0], 10), -EAGAIN);
	assert_int_equal(buffer_append(&out, "hello", 5), 0);
	assert_int_equal(buffer_write(&out, ends[1]), 5);
	assert_int_equal(out.len, 0);
	assert_int_equal(buffer_read(&in, ends[0], 2), 2);
	assert_int_equal(buffer_read(&in, ends[0], 10), 3);
	assert_memory_equal(buffer_head(&in), "hello", 5);
	close(ends[1]);
	assert_int_equal(buffer_read(&in, ends[0], 10), 0);
	assert_int_equal(in.len, 5);
	close(ends[0]);
}

static void write_keeps_what_a_full_pipe_does_not_take(void **state)
{
	struct buffer out AUTO(buffer_done) = {0};
	const size_t size = 1 << 20;
	ssize_t written, second;
	int ends[2];

	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	memset(buffer_reserve(&out, size), 'y', size);
	buffer_commit(&out, size);
	written = buffer_write(&out, ends[1]);
	assert_in_range(written, 1, size - 1);
	assert_int_equal(out.len, size - (size_t)written);
	second = buffer_write(&out, ends[1]);
	assert_int_equal(second, -EAGAIN);
	assert_int_equal(out.len, size - (size_t)written);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_come_out_in_order),
		cmocka_unit_test(empty_buffer_has_no_head),
		cmocka_unit_test(memory_does_not_grow_when_content_does_not),
		cmocka_unit_test(reserved_room_is_writable_and_committed_in_part),
		cmocka_unit_test(read_and_write_pass_through_a_pipe),
		cmocka_unit_test(write_keeps_what_a_full_pipe_does_not_take),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
