#include "depot/pick.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const uint8_t wanted[] = {0xff, 0x07}; /* eleven chunks: 100 to 110 */
static struct buffer b;
static struct pick p;

static int setup(void **state)
{
	const struct pick question = {
		.index = {1, 2, 3}, .bytes = 4096, .first = 100, .count = 11, .wanted = wanted};

	return pick_format(&question, &b) < 0 || pick_parse(buffer_head(&b), b.len, &p) < 0;
}

static int teardown(void **state)
{
	buffer_done(&b);
	return 0;
}

static void question_comes_as_it_was_asked(void **state)
{
	assert_int_equal(p.index[2], 3);
	assert_int_equal(p.bytes, 4096);
	assert_int_equal(p.first, 100);
	assert_int_equal(p.count, 11);
	assert_true(pick_wants(&p, 100) && pick_wants(&p, 110));
	assert_false(pick_wants(&p, 99) || pick_wants(&p, 111) || pick_wants(&p, UINT32_MAX));
}

static void what_is_no_question_is_refused(void **state)
{
	uint8_t bytes[64];
	struct pick ret;

	memcpy(bytes, buffer_head(&b), b.len);
	for (size_t length = 0; length < b.len; length++)
		assert_int_equal(pick_parse(bytes, length, &ret), -EBADMSG);
	bytes[44] = 200; /* more chunks than bits */
	assert_int_equal(pick_parse(bytes, b.len, &ret), -EBADMSG);
	bytes[44] = 11;
	memset(bytes + 40, 0xff, 4); /* beyond all numbers */
	assert_int_equal(pick_parse(bytes, b.len, &ret), -EBADMSG);
}

/* Reads an answer in pieces of `step` bytes. Returns the number of chunks, or what went wrong. */
static int read_answer(const struct buffer *answer, size_t step, char *texts)
{
	struct pick_reader r AUTO(pick_reader_done) = {.pick = &p};
	int result = 0;

	for (size_t at = 0; at < answer->len && result >= 0;) {
		size_t used, n = MIN_OF(step, answer->len - at);

		result = pick_read(&r, buffer_head(answer) + at, n, &used);
		at += used;
		if (result == PICK_CHUNK)
			texts += sprintf(texts, "%u=%.*s ", r.rows[r.done - 1].chunk,
				(int)r.bytes.len, (const char *)buffer_head(&r.bytes));
	}
	if (result < 0)
		return result;
	return pick_reader_is_whole(&r) ? (int)r.done : -EAGAIN;
}

static struct buffer make_answer(const struct pick_row *rows, size_t count, const char *bytes)
{
	struct buffer answer = {0};

	assert_int_equal(pick_format_answer(rows, count, &answer), 0);
	assert_int_equal(buffer_append(&answer, bytes, strlen(bytes)), 0);
	return answer;
}

static void answer_comes_in_pieces_of_any_size(void **state)
{
	const struct pick_row rows[] = {{104, 3}, {100, 3}, {110, 1}};
	struct buffer answer AUTO(buffer_done) = make_answer(rows, 3, "abcdefg");
	char texts[256];

	for (size_t step = 1; step <= answer.len; step++) {
		assert_int_equal(read_answer(&answer, step, texts), 3);
		assert_string_equal(texts, "104=abc 100=def 110=g ");
	}
	answer.len--;
	assert_int_equal(read_answer(&answer, 5, texts), -EAGAIN);
}

static void check_refused(const struct pick_row *rows, size_t count, const char *bytes)
{
	struct buffer answer AUTO(buffer_done) = make_answer(rows, count, bytes);
	char texts[256];

	assert_int_equal(read_answer(&answer, answer.len, texts), -EBADMSG);
	assert_int_equal(read_answer(&answer, 1, texts), -EBADMSG);
}

static void answer_that_was_not_asked_for_is_refused(void **state)
{
	check_refused((struct pick_row[]){{111, 1}}, 1, "a");
	check_refused((struct pick_row[]){{100, 1}, {100, 1}}, 2, "aa");
	check_refused((struct pick_row[]){{100, 0}}, 1, "a");
	check_refused((struct pick_row[]){{100, CHUNK_PACKED_MAX + 1}}, 1, "a");
	check_refused((struct pick_row[]){{100, CHUNK_PACKED_MAX}, {101, CHUNK_PACKED_MAX},
			      {102, CHUNK_PACKED_MAX}},
		3, "a");
	check_refused((struct pick_row[]){{100, 1}}, 1, "ab"); /* more than it says */
	check_refused(NULL, 0, "");
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(question_comes_as_it_was_asked),
		EACH(what_is_no_question_is_refused),
		EACH(answer_comes_in_pieces_of_any_size),
		EACH(answer_that_was_not_asked_for_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
