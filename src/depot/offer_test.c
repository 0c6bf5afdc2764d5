#include "depot/offer.h"

#include <setjmp.h>
#include <stdarg.h>

#include "depot/throttle.h"

#include <cmocka.h>

#define COUNT 100
#define MS    UINT64_C(1000)

static struct offer *o;
static uint8_t all[COUNT / 8 + 1];
static struct pick everything = {.bytes = 10 * 1000, .first = 0, .count = COUNT, .wanted = all};
static uint32_t chunks[PICK_CHUNKS_MAX];

static int setup(void **state)
{
	uint32_t sizes[COUNT];

	for (size_t i = 0; i < COUNT; i++)
		sizes[i] = 1000;
	memset(all, 0xff, sizeof(all));
	o = offer_new(sizes, COUNT, 7);
	return o ? 0 : -1;
}

static int teardown(void **state)
{
	o = offer_free(o);
	return 0;
}

static void add_all(bool common)
{
	for (uint32_t i = 0; i < COUNT; i++)
		offer_add(o, i, common);
}

static void nothing_is_given_that_is_not_there(void **state)
{
	assert_int_equal(offer_pick(o, &everything, chunks, PICK_CHUNKS_MAX), 0);
	offer_add(o, 42, false);
	offer_add(o, COUNT, false); /* there is no such chunk */
	assert_int_equal(offer_pick(o, &everything, chunks, PICK_CHUNKS_MAX), 1);
	assert_int_equal(chunks[0], 42);
	assert_int_equal(offer_count(o), 1);
}

static void each_is_given_once_before_any_is_given_twice(void **state)
{
	int given[COUNT] = {0};

	add_all(false);
	for (int round = 0; round < 10; round++) {
		assert_int_equal(offer_pick(o, &everything, chunks, PICK_CHUNKS_MAX), 10);
		for (int i = 0; i < 10; i++)
			assert_int_equal(given[chunks[i]]++, 0);
	}
	assert_int_equal(offer_pick(o, &everything, chunks, PICK_CHUNKS_MAX), 10);
}

static void only_what_is_wanted_is_given(void **state)
{
	const uint8_t few[] = {0x05};
	struct pick pick = {.bytes = 100000, .first = 90, .count = 8, .wanted = few};

	add_all(false);
	assert_int_equal(offer_pick(o, &pick, chunks, PICK_CHUNKS_MAX), 2);
	assert_int_equal(chunks[0] + chunks[1], 90 + 92);
	pick.first = 98; /* and 100, which is none */
	assert_int_equal(offer_pick(o, &pick, chunks, PICK_CHUNKS_MAX), 1);
	pick.first = UINT32_MAX - 8;
	assert_int_equal(offer_pick(o, &pick, chunks, PICK_CHUNKS_MAX), 0);
}

static void what_only_we_have_goes_first(void **state)
{
	add_all(true);
	offer_free(o);
	assert_int_equal(setup(state), 0);
	for (uint32_t i = 0; i < COUNT; i++)
		offer_add(o, i, i % 10 != 0);
	assert_int_equal(offer_pick(o, &everything, chunks, PICK_CHUNKS_MAX), 10);
	for (int i = 0; i < 10; i++)
		assert_int_equal(chunks[i] % 10, 0);
}

static void answers_have_a_measure(void **state)
{
	add_all(false);
	everything.bytes = 1;
	assert_int_equal(offer_pick(o, &everything, chunks, PICK_CHUNKS_MAX), 1);
	everything.bytes = PICK_BYTES_MAX;
	assert_int_equal(offer_pick(o, &everything, chunks, 3), 3);
	everything.bytes = 10 * 1000;
}

static void slots_and_bytes_are_limited(void **state)
{
	struct throttle t = {0};
	uint64_t now = 1000 * MS, sent = 0;

	throttle_init(&t, 2, 0, now);
	assert_true(throttle_take(&t, now) && throttle_take(&t, now));
	assert_false(throttle_take(&t, now));
	throttle_give_back(&t);
	assert_true(throttle_take(&t, now));
	t = (struct throttle){0};
	throttle_init(&t, 2, 1000000, now);
	for (uint64_t end = now + 10000 * MS; now < end; now += MS)
		if (throttle_take(&t, now)) {
			throttle_send(&t, 100000);
			sent += 100000;
			throttle_give_back(&t);
		}
	assert_in_range(sent, 9800000, 10200000);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(nothing_is_given_that_is_not_there),
		EACH(each_is_given_once_before_any_is_given_twice),
		EACH(only_what_is_wanted_is_given),
		EACH(what_only_we_have_goes_first),
		EACH(answers_have_a_measure),
		EACH(slots_and_bytes_are_limited),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
