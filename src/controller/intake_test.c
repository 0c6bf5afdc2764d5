#include "controller/intake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static char piece[100000];

static void fill(struct intake *in, const char *directory, size_t pieces)
{
	for (size_t i = 0; i < pieces; i++) {
		memset(piece, (int)('a' + i % 26), sizeof(piece));
		assert_int_equal(intake_add(in, directory, piece, sizeof(piece)), 0);
	}
}

static void check(struct intake *in, size_t pieces)
{
	const char *all = intake_get(in);

	assert_int_equal(in->length, pieces * sizeof(piece));
	assert_non_null(all);
	for (size_t i = 0; i < pieces; i++) {
		assert_int_equal(all[i * sizeof(piece)], 'a' + i % 26);
		assert_int_equal(all[(i + 1) * sizeof(piece) - 1], 'a' + i % 26);
	}
}

static void what_is_short_stays_in_memory(void **state)
{
	struct intake in = {0};

	assert_null(intake_get(&in));
	fill(&in, "/tmp", 3);
	assert_int_equal(intake_memory(&in), 3 * sizeof(piece));
	assert_int_equal(intake_file(&in), 0);
	check(&in, 3);
	intake_done(&in);
	assert_int_equal(in.length, 0);
}

static void what_is_long_goes_to_a_file(void **state)
{
	struct intake in = {0};

	fill(&in, "/tmp", 40);
	assert_int_equal(intake_memory(&in), 0);
	assert_int_equal(intake_file(&in), 40 * sizeof(piece));
	check(&in, 40);
	assert_int_equal(intake_add(&in, "/tmp", "x", 1), 0);
	assert_int_equal(((const char *)intake_get(&in))[40 * sizeof(piece)], 'x');
	intake_done(&in);
	fill(&in, NULL, 20);
	assert_int_equal(intake_file(&in), 0);
	check(&in, 20);
	intake_done(&in);
}

static void a_directory_that_is_not_there_is_an_error(void **state)
{
	struct intake in = {0};

	fill(&in, "/nonexistent", 10);
	assert_int_equal(intake_add(&in, "/nonexistent", piece, sizeof(piece)), -ENOENT);
	assert_int_equal(in.length, 10 * sizeof(piece));
	intake_done(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_short_stays_in_memory),
		cmocka_unit_test(what_is_long_goes_to_a_file),
		cmocka_unit_test(a_directory_that_is_not_there_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
