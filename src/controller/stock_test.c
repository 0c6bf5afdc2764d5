#include "controller/stock.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CHUNKS  64
#define SIZE    65536
#define THREADS 8
#define ROUNDS  2000

static struct caibx *make_index(size_t count)
{
	struct caibx *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	*x = (struct caibx){.size = count * SIZE,
		.min = SIZE,
		.average = SIZE,
		.max = SIZE,
		.count = count,
		.chunks = calloc(count, sizeof(*x->chunks))};
	assert_non_null(x->chunks);
	for (size_t i = 0; i < count; i++)
		x->chunks[i] = (struct caibx_chunk){.offset = i * SIZE, .size = SIZE};
	return x;
}

static void name(unsigned int number, uint8_t ret[CHUNK_ID_SIZE])
{
	memset(ret, 0, CHUNK_ID_SIZE);
	memcpy(ret, &number, sizeof(number));
}

static struct stock *add(struct stocks *ss, unsigned int number, size_t count)
{
	uint8_t digest[CHUNK_ID_SIZE];
	struct stock *s;

	name(number, digest);
	s = stocks_add(ss, digest, make_index(count));
	assert_non_null(s);
	return s;
}

static bool is_there(struct stocks *ss, unsigned int number)
{
	struct stock *s AUTO(stock_unrefp) = NULL;
	uint8_t digest[CHUNK_ID_SIZE];

	name(number, digest);
	s = stocks_find(ss, digest);
	return s;
}

static size_t pick(struct stock *s, uint32_t bytes, uint32_t ret[PICK_CHUNKS_MAX])
{
	uint8_t wanted[CHUNKS / 8];
	struct pick p = {.bytes = bytes, .count = CHUNKS, .wanted = wanted};

	memset(wanted, 0xff, sizeof(wanted));
	return stock_pick(s, &p, ret, PICK_CHUNKS_MAX);
}

static void each_chunk_is_given_once_before_one_is_given_twice(void **state)
{
	struct stocks *ss AUTO(stocks_freep) = stocks_new(4);
	struct stock *s AUTO(stock_unrefp) = add(ss, 1, CHUNKS);
	unsigned int given[CHUNKS] = {0};
	uint32_t chunks[PICK_CHUNKS_MAX];

	for (size_t total = 0; total < CHUNKS;) {
		size_t count = pick(s, 4 * SIZE, chunks);

		assert_in_range(count, 1, 4);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(given[chunks[i]]++, 0);
		total += count;
	}
}

static void an_index_has_one_stock_whoever_adds_it(void **state)
{
	struct stocks *ss AUTO(stocks_freep) = stocks_new(4);
	struct stock *first AUTO(stock_unrefp) = add(ss, 1, CHUNKS);
	struct stock *second AUTO(stock_unrefp) = add(ss, 1, CHUNKS);

	assert_ptr_equal(first, second);
	assert_false(is_there(ss, 2));
}

static void the_ones_that_nobody_asks_about_go_first(void **state)
{
	struct stocks *ss AUTO(stocks_freep) = stocks_new(4);
	struct stock *used AUTO(stock_unrefp) = add(ss, 0, CHUNKS);
	struct stocks_usage usage;
	uint32_t chunks[PICK_CHUNKS_MAX];

	for (unsigned int i = 1; i <= 1000; i++) {
		stock_unref(add(ss, i, CHUNKS));
		assert_true(is_there(ss, 1));
	}
	stocks_get_usage(ss, &usage);
	assert_in_range(usage.stocks, 100, 300);
	assert_true(is_there(ss, 1));
	assert_true(is_there(ss, 1000));
	assert_false(is_there(ss, 2));
	assert_false(is_there(ss, 0));
	/* Who has it goes on with it. */
	assert_in_range(pick(used, SIZE, chunks), 1, 1);
}

static void they_have_so_much_memory_and_no_more(void **state)
{
	struct stocks *ss AUTO(stocks_freep) = stocks_new(4);
	struct stocks_usage usage;

	for (unsigned int i = 0; i < 20; i++)
		stock_unref(add(ss, i, 1000000));
	stocks_get_usage(ss, &usage);
	assert_in_range(usage.memory, 50 << 20, 256 << 20);
	assert_true(is_there(ss, 19));
	assert_false(is_there(ss, 0));
}

static void slots_are_limited_and_so_are_those_of_one_node(void **state)
{
	struct stocks *ss AUTO(stocks_freep) = stocks_new(3);
	int first = stocks_take_slot(ss, "wn1"), second = stocks_take_slot(ss, "wn1"), third;

	assert_true(first >= 0 && second >= 0);
	assert_int_equal(stocks_take_slot(ss, "wn1"), -EBUSY);
	third = stocks_take_slot(ss, "wn2");
	assert_true(third >= 0);
	assert_int_equal(stocks_take_slot(ss, "wn3"), -EBUSY);
	stocks_give_back_slot(ss, first);
	assert_int_equal(stocks_take_slot(ss, "wn3"), first);
}

static void *work(void *userdata)
{
	struct stocks *ss = userdata;
	uint32_t chunks[PICK_CHUNKS_MAX];
	char node[32];

	snprintf(node, sizeof(node), "%p", (void *)chunks);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		int slot = stocks_take_slot(ss, node);
		uint8_t digest[CHUNK_ID_SIZE];
		struct stocks_usage usage;
		struct stock *s;

		name(i % 300, digest);
		s = stocks_find(ss, digest);
		if (!s)
			s = stocks_add(ss, digest, make_index(CHUNKS));
		pick(s, 3 * SIZE, chunks);
		stocks_note_sent(ss, 3);
		stocks_get_usage(ss, &usage);
		stock_unref(s);
		if (slot >= 0)
			stocks_give_back_slot(ss, slot);
	}
	return NULL;
}

static void many_threads_ask_at_once(void **state)
{
	struct stocks *ss AUTO(stocks_freep) = stocks_new(4);
	struct stocks_usage usage;
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, ss), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	stocks_get_usage(ss, &usage);
	assert_int_equal(usage.taken, 0);
	assert_int_equal(usage.sent, 3 * THREADS * ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_chunk_is_given_once_before_one_is_given_twice),
		cmocka_unit_test(an_index_has_one_stock_whoever_adds_it),
		cmocka_unit_test(the_ones_that_nobody_asks_about_go_first),
		cmocka_unit_test(they_have_so_much_memory_and_no_more),
		cmocka_unit_test(slots_are_limited_and_so_are_those_of_one_node),
		cmocka_unit_test(many_threads_ask_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
