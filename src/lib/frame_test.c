#include "lib/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "lib/wire.h"

static void frame_comes_back_as_it_was_sent(void **state)
{
	struct buffer b AUTO(buffer_done) = {0};
	struct frame f;

	assert_int_equal(frame_append(&b, FRAME_DATA, 7, FRAME_STDERR, "hello", 5), 0);
	assert_int_equal(frame_append(&b, FRAME_DATA, 8, FRAME_STDIN, NULL, 0), 0);
	assert_int_equal(frame_parse(&b, FRAME_HOST_ACCEPTS_MAX, &f), 1);
	assert_int_equal(f.length, 5);
	assert_int_equal(f.type, FRAME_DATA);
	assert_int_equal(f.channel, FRAME_STDERR);
	assert_int_equal(f.id, 7);
	assert_memory_equal(f.payload, "hello", 5);
	buffer_consume(&b, FRAME_HEADER_SIZE + f.length);
	assert_int_equal(frame_parse(&b, FRAME_HOST_ACCEPTS_MAX, &f), 1);
	assert_int_equal(f.length, 0);
	assert_int_equal(f.id, 8);
	buffer_consume(&b, FRAME_HEADER_SIZE);
	assert_int_equal(b.len, 0);
}

static void header_is_little_endian(void **state)
{
	static const uint8_t expected[FRAME_HEADER_SIZE] = {
		0x04, 0x03, 0x02, 0x01, FRAME_DATA, 0, 2, 0, 0xdd, 0xcc, 0xbb, 0xaa};
	uint8_t header[FRAME_HEADER_SIZE];

	frame_write_header(header, FRAME_DATA, 0xaabbccdd, FRAME_STDERR, 0x01020304);
	assert_memory_equal(header, expected, sizeof(expected));
}

static void part_of_a_frame_waits_for_the_rest(void **state)
{
	struct buffer whole AUTO(buffer_done) = {0};
	struct frame f;

	assert_int_equal(frame_append(&whole, FRAME_EXEC, 1, FRAME_STDIN, "payload", 7), 0);
	for (size_t n = 0; n < whole.len; n++) {
		struct buffer part AUTO(buffer_done) = {0};

		assert_int_equal(buffer_append(&part, buffer_head(&whole), n), 0);
		assert_int_equal(frame_parse(&part, 100, &f), 0);
	}
	assert_int_equal(frame_parse(&whole, 100, &f), 1);
}

/* Parses a header with these fields and no payload behind it. */
static int parse_header(uint32_t length, uint16_t type, uint16_t channel)
{
	struct buffer b AUTO(buffer_done) = {0};
	uint8_t header[FRAME_HEADER_SIZE] = {0};
	struct frame f;

	le32_store(header, length);
	le16_store(header + 4, type);
	le16_store(header + 6, channel);
	assert_int_equal(buffer_append(&b, header, sizeof(header)), 0);
	return frame_parse(&b, FRAME_HOST_ACCEPTS_MAX, &f);
}

static void impossible_frames_are_refused_at_their_header(void **state)
{
	assert_int_equal(parse_header(FRAME_HOST_ACCEPTS_MAX, FRAME_DATA, 0), 0);
	assert_int_equal(parse_header(FRAME_HOST_ACCEPTS_MAX + 1, FRAME_DATA, 0), -EPROTO);
	assert_int_equal(parse_header(UINT32_MAX, FRAME_DATA, 0), -EPROTO);
	assert_int_equal(parse_header(0, 0, 0), -EPROTO);
	assert_int_equal(parse_header(0, FRAME_TYPE_END, 0), -EPROTO);
	assert_int_equal(parse_header(0, UINT16_MAX, 0), -EPROTO);
	assert_int_equal(parse_header(0, FRAME_DATA, FRAME_CHANNELS), -EPROTO);
	assert_int_equal(parse_header(0, FRAME_DATA, UINT16_MAX), -EPROTO);
	assert_int_equal(parse_header(0, FRAME_EXIT, FRAME_STDERR), 1);
}

/* Agents are in images that were built long ago. */
static void numbers_of_types_never_change(void **state)
{
	static const enum frame_type types[] = {FRAME_HELLO, FRAME_REPLY, FRAME_IDENTITY,
		FRAME_ACCOUNT, FRAME_MOUNT, FRAME_NETWORK, FRAME_FILE_WRITE, FRAME_FILE_READ,
		FRAME_STATISTICS, FRAME_PROBE, FRAME_CLOCK, FRAME_SHUTDOWN, FRAME_EXEC, FRAME_DATA,
		FRAME_CREDIT, FRAME_SIGNAL, FRAME_RESIZE, FRAME_EXIT, FRAME_QUIESCE};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(types[i], i + 1);
	assert_int_equal(FRAME_TYPE_END, ARRAY_SIZE(types) + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_comes_back_as_it_was_sent),
		cmocka_unit_test(header_is_little_endian),
		cmocka_unit_test(part_of_a_frame_waits_for_the_rest),
		cmocka_unit_test(impossible_frames_are_refused_at_their_header),
		cmocka_unit_test(numbers_of_types_never_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
