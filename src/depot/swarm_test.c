#include "depot/swarm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COUNT  40
#define SIZE   (64 * 1024)
#define MS     UINT64_C(1000)
#define SECOND (1000 * MS)

static struct swarm *s;
static struct swarm_ask ask;
static uint64_t now, wait_us;

static int setup(void **state)
{
	uint32_t sizes[COUNT];

	for (size_t i = 0; i < COUNT; i++)
		sizes[i] = SIZE;
	now = 100 * SECOND;
	s = swarm_new(4, 7);
	return s && swarm_add_part(s, sizes, COUNT) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	s = swarm_free(s);
	return 0;
}

static bool next(void)
{
	return swarm_next(s, now, &ask, &wait_us);
}

/* The chunks that are asked for. */
static size_t count_asked(void)
{
	size_t count = 0;

	for (uint32_t i = 0; i < COUNT; i++)
		count += pick_wants(&ask.pick, i);
	return count;
}

static void promise(size_t request, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		swarm_promise(s, request, i);
	swarm_hear(s, request, 1, now);
}

static void arrive(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		swarm_have(s, 0, i);
}

static void what_one_has_promised_is_not_asked_of_another(void **state)
{
	swarm_add_source(s, SWARM_PEER);
	swarm_add_source(s, SWARM_PEER);
	assert_true(next());
	assert_int_equal(count_asked(), COUNT);
	promise(ask.request, 0, 10);
	assert_true(next());
	assert_int_equal(count_asked(), COUNT - 10);
	assert_false(pick_wants(&ask.pick, 9));
	arrive(10, 20);
	assert_true(next());
	assert_int_equal(count_asked(), COUNT - 20);
}

static void it_ends_when_all_is_there(void **state)
{
	swarm_add_source(s, SWARM_PEER);
	arrive(0, COUNT - 1);
	assert_false(swarm_is_complete(s));
	assert_true(next());
	arrive(0, COUNT);
	assert_true(swarm_is_complete(s));
	swarm_end(s, ask.request, SWARM_DONE, now);
	assert_false(next());
}

static void requests_are_limited_and_shared_out(void **state)
{
	size_t asked[4] = {0};

	for (int i = 0; i < 4; i++)
		swarm_add_source(s, SWARM_PEER);
	for (int i = 0; i < 4; i++) {
		assert_true(next());
		asked[ask.source]++;
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(asked[i], 1);
	assert_false(next());
	assert_int_equal(swarm_count_requests(s, SIZE_MAX), 4);
}

static void silent_one_costs_less_than_two_seconds(void **state)
{
	size_t dead;

	swarm_add_source(s, SWARM_PEER);
	assert_true(next());
	dead = ask.request;
	promise(dead, 0, COUNT);
	assert_int_equal(swarm_find_stalled(s, now), -ENOENT);
	now += 3 * SECOND / 2;
	assert_int_equal(swarm_find_stalled(s, now), (int)dead);
	swarm_end(s, dead, SWARM_FAILED, now);
	assert_false(next()); /* not the dead one again at once */
	swarm_add_source(s, SWARM_PEER);
	assert_true(next());
	assert_int_equal(count_asked(), COUNT);
	assert_true(now - 100 * SECOND < 2 * SECOND);
}

static void failures_at_the_same_time_count_once(void **state)
{
	size_t requests[2];

	swarm_add_source(s, SWARM_ORIGIN);
	assert_true(next());
	swarm_end(s, ask.request, SWARM_DONE, now);
	for (int i = 0; i < 2; i++) {
		assert_true(next());
		requests[i] = ask.request;
	}
	swarm_end(s, requests[0], SWARM_FAILED, now);
	swarm_end(s, requests[1], SWARM_FAILED, now);
	assert_false(next());
	assert_true(wait_us <= 200 * MS); /* it has given something a moment ago */
	now += wait_us;
	assert_true(next());
	swarm_end(s, ask.request, SWARM_FAILED, now);
	assert_false(next());
	now += SECOND;
	assert_false(next());
	now += 4 * SECOND;
	assert_true(next());
}

static void who_sends_something_bad_is_never_asked_again(void **state)
{
	swarm_add_source(s, SWARM_PEER);
	assert_true(next());
	swarm_end(s, ask.request, SWARM_BAD, now);
	for (int i = 0; i < 100; i++, now += 60 * SECOND)
		assert_false(next());
}

static void busy_one_is_asked_again_after_a_pause_that_grows(void **state)
{
	uint64_t pauses[8];

	swarm_add_source(s, SWARM_PEER);
	for (int i = 0; i < 8; i++) {
		assert_true(next());
		swarm_end(s, ask.request, SWARM_BUSY, now);
		assert_false(next());
		pauses[i] = wait_us;
		now += wait_us;
	}
	assert_true(pauses[0] >= 20 * MS && pauses[0] <= 40 * MS);
	assert_true(pauses[7] >= 500 * MS && pauses[7] <= SECOND);
}

static void late_one_is_overtaken_in_the_end_game(void **state)
{
	size_t late;

	swarm_add_source(s, SWARM_PEER);
	swarm_add_source(s, SWARM_PEER);
	/* Answers take 200 ms. */
	for (int i = 0; i < 5; i++) {
		assert_true(next());
		now += 200 * MS;
		swarm_end(s, ask.request, SWARM_DONE, now);
	}
	assert_true(next());
	late = ask.source;
	promise(ask.request, 0, COUNT);
	assert_false(next()); /* all is promised, and nobody is late yet */
	assert_in_range(wait_us, 1, 400 * MS);
	arrive(0, COUNT - 5);
	now += 401 * MS;
	assert_true(next());
	assert_int_not_equal(ask.source, late);
	assert_int_equal(count_asked(), 5);
	promise(ask.request, COUNT - 5, COUNT);
	assert_false(next()); /* two are enough */
}

static void web_server_is_asked_for_one_chunk_at_a_time(void **state)
{
	bool asked[COUNT] = {false};
	int web = swarm_add_source(s, SWARM_ORIGIN);

	assert_true(next());
	assert_int_equal(ask.kind, SWARM_ORIGIN);
	swarm_end(s, ask.request, SWARM_FAILED, now);
	swarm_set_kind(s, (size_t)web, SWARM_WEB);
	for (int i = 0; i < COUNT; i++) {
		assert_true(next());
		assert_int_equal(ask.kind, SWARM_WEB);
		assert_false(asked[ask.chunk]);
		asked[ask.chunk] = true;
		swarm_have(s, 0, ask.chunk);
		swarm_end(s, ask.request, SWARM_DONE, now);
	}
	assert_true(swarm_is_complete(s));
}

static void source_that_is_removed_ends_what_it_does(void **state)
{
	int peer = swarm_add_source(s, SWARM_PEER);

	assert_true(next());
	swarm_remove_source(s, (size_t)peer);
	assert_int_not_equal(swarm_add_source(s, SWARM_PEER), peer);
	promise(ask.request, 0, 5);
	arrive(0, 5);
	swarm_end(s, ask.request, SWARM_DONE, now);
	assert_int_equal(swarm_add_source(s, SWARM_PEER), peer);
}

static void each_part_is_asked_for_before_it_is_paused(void **state)
{
	const uint32_t sizes[] = {SIZE};
	int peer = swarm_add_source(s, SWARM_PEER);

	assert_int_equal(swarm_add_part(s, sizes, 1), 1);
	assert_true(next());
	assert_int_equal(ask.part, 0);
	swarm_end(s, ask.request, SWARM_NOTHING, now);
	assert_true(next());
	assert_int_equal(ask.part, 1);
	assert_int_equal(ask.source, peer);
	swarm_end(s, ask.request, SWARM_NOTHING, now);
	assert_false(next());
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(what_one_has_promised_is_not_asked_of_another),
		EACH(it_ends_when_all_is_there),
		EACH(requests_are_limited_and_shared_out),
		EACH(silent_one_costs_less_than_two_seconds),
		EACH(failures_at_the_same_time_count_once),
		EACH(who_sends_something_bad_is_never_asked_again),
		EACH(busy_one_is_asked_again_after_a_pause_that_grows),
		EACH(late_one_is_overtaken_in_the_end_game),
		EACH(web_server_is_asked_for_one_chunk_at_a_time),
		EACH(source_that_is_removed_ends_what_it_does),
		EACH(each_part_is_asked_for_before_it_is_paused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
