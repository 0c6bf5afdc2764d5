#include "hypervisor/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000)
#define NOW    (1000000 * SECOND)

/* "a100 b200h": images with their bytes and h: held, d: dead, r: replaced, o: not used for hours.
 * The first was not used for the longest time. What goes, with so many bytes used. */
static const char *choose(const char *text, uint64_t used, uint64_t high, uint64_t low)
{
	static char gone[64];
	struct cache_item items[16] = {0};
	size_t count = 0, n;

	for (const char *c = text; *c; count++) {
		struct cache_item *i = &items[count];
		char *end;

		i->digest[0] = *c;
		i->bytes = strtoull(c + 1, &end, 10);
		i->used_us = NOW - 100 * SECOND + count * SECOND;
		for (c = end; *c && *c != ' '; c++) {
			i->held |= *c == 'h';
			i->dead |= *c == 'd';
			i->replaced |= *c == 'r';
			i->used_us -= *c == 'o' ? 8 * 3600 * SECOND : 0;
		}
		c += *c == ' ';
	}
	n = cache_choose(items, count, used, high, low, NOW);
	gone[0] = '\0';
	for (size_t i = 0; i < count; i++)
		if (items[i].goes)
			strcat(gone, items[i].digest);
	assert_int_equal(n, strlen(gone));
	return gone;
}

static void nothing_goes_as_long_as_there_is_room(void **state)
{
	assert_string_equal(choose("a100 b100", 200, 200, 0), "");
	assert_string_equal(choose("a100 b100o", 0, 0, 0), "");
	assert_string_equal(choose("", 1000, 0, 0), "");
}

static void those_not_used_for_longest_go_until_there_is_enough(void **state)
{
	assert_string_equal(choose("a100 b100 c100 d100", 400, 399, 300), "a");
	assert_string_equal(choose("a100 b100 c100 d100", 400, 399, 299), "ab");
	assert_string_equal(choose("a100 b100o c100", 300, 250, 200), "b");
	assert_string_equal(choose("a100 b100", 1000, 10, 0), "ab");
}

static void what_is_held_stays_whatever_happens(void **state)
{
	assert_string_equal(choose("a100h b100 c100", 300, 200, 200), "b");
	assert_string_equal(choose("a100h b100hd c100hro", 300, 0, 0), "");
}

static void what_is_of_no_use_goes_at_once(void **state)
{
	assert_string_equal(choose("a100 b100d c100", 300, 1000, 500), "b");
	/* and what it gives back counts. */
	assert_string_equal(choose("a100 b100d c100", 300, 250, 200), "b");
	/* One that was replaced may still be wanted. */
	assert_string_equal(choose("a100 b100r c100ro", 300, 1000, 500), "c");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_goes_as_long_as_there_is_room),
		cmocka_unit_test(those_not_used_for_longest_go_until_there_is_enough),
		cmocka_unit_test(what_is_held_stays_whatever_happens),
		cmocka_unit_test(what_is_of_no_use_goes_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
