#include "controller/guess.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include "lib/clock.h"

#include <cmocka.h>

#define SECOND UINT64_C(1000000)
#define MAX    10

static uint64_t now_us = 1000 * SECOND;

/* In place of the real one. */
uint64_t clock_now_us(void)
{
	return now_us;
}

static const uint8_t *address_of(uint32_t number)
{
	static uint8_t address[GUESS_ADDRESS_SIZE];

	memcpy(address + 4, &number, sizeof(number));
	return address;
}

static void there_are_so_many_a_minute(void **state)
{
	struct guesses *g AUTO(guesses_freep) = guesses_new();
	const uint8_t *address = address_of(1);

	for (int i = 0; i < MAX; i++) {
		assert_int_equal(guesses_wait_s(g, address, MAX), 0);
		guesses_add(g, address, MAX);
	}
	assert_in_range(guesses_wait_s(g, address, MAX), 1, 60 / MAX + 1);
	assert_int_equal(guesses_wait_s(g, address_of(2), MAX), 0);
	/* One more as soon as its time has come. */
	now_us += 60 / MAX * SECOND;
	assert_int_equal(guesses_wait_s(g, address_of(1), MAX), 0);
	guesses_add(g, address_of(1), MAX);
	assert_true(guesses_wait_s(g, address_of(1), MAX) > 0);
	now_us += 60 * SECOND;
	for (int i = 0; i < MAX; i++)
		guesses_add(g, address_of(1), MAX);
	assert_true(guesses_wait_s(g, address_of(1), MAX) > 0);
	/* However many there were: it is over in two minutes. */
	for (int i = 0; i < 1000 * MAX; i++)
		guesses_add(g, address_of(1), MAX);
	assert_in_range(guesses_wait_s(g, address_of(1), MAX), 1, 120);
	assert_int_equal(guesses_wait_s(g, address_of(1), 0), 0);
}

static void many_addresses_do_not_make_room_for_one(void **state)
{
	struct guesses *g AUTO(guesses_freep) = guesses_new();

	for (int i = 0; i < MAX; i++)
		guesses_add(g, address_of(1), MAX);
	for (uint32_t i = 2; i < 100000; i++)
		guesses_add(g, address_of(i), MAX);
	assert_true(guesses_wait_s(g, address_of(1), MAX) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_are_so_many_a_minute),
		cmocka_unit_test(many_addresses_do_not_make_room_for_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
