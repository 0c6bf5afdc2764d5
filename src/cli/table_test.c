#include "cli/table.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct table_column columns[] = {
	{"name", "NAME", TABLE_TEXT},
	{"size", "SIZE", TABLE_SIZE},
	{"cpus", "CPUS", TABLE_NUMBER},
	{"digest", "DIGEST", TABLE_DIGEST},
	{"created", "CREATED", TABLE_TIME},
	{"up", "UP", TABLE_DURATION},
	{"note", "NOTE", TABLE_TEXT},
	{"hidden", NULL, TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column two[] = {
	{"a", "FIRST", TABLE_TEXT},
	{"b", "SECOND", TABLE_TEXT},
	{.key = NULL},
};

static void prints(
	const struct table *t, int (*print)(const struct table *, FILE *), const char *expected)
{
	autofree char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	int r;

	assert_non_null(out);
	r = print(t, out);
	fclose(out);
	assert_int_equal(r, 0);
	assert_string_equal(text, expected);
}

static struct table *images(void)
{
	struct table *t = table_new(columns);

	setenv("TZ", "UTC", 1);
	assert_non_null(t);
	assert_int_equal(
		table_add(t,
			json_pack("{s:s, s:I, s:i, s:s, s:I, s:I, s:[ss], s:s}", "name",
				"debian:latest", "size", (json_int_t)343 << 20, "cpus", 1, "digest",
				"0123456789abcdef0123", "created", (json_int_t)1700000000, "up",
				(json_int_t)185000000, "note", "9p", "nfs", "hidden", "x")),
		0);
	assert_int_equal(table_add(t, json_pack("{s:s, s:I, s:i, s:b, s:n}", "name", "el9", "size",
					      (json_int_t)17, "cpus", 128, "note", 1, "digest")),
		0);
	return t;
}

static void rows_are_aligned_below_their_titles(void **state)
{
	struct table *t AUTO(table_freep) = images();

	prints(t, table_print,
		"NAME              SIZE  CPUS  DIGEST        CREATED              UP  NOTE\n"
		"debian:latest  343 MiB     1  0123456789ab  2023-11-14 22:13  3m05s  9p,nfs\n"
		"el9               17 B   128  -             -                     -  yes\n");
}

static void empty_table_has_its_titles(void **state)
{
	struct table *t AUTO(table_freep) = table_new(two);

	prints(t, table_print, "FIRST  SECOND\n");
	prints(t, table_print_json, "[]\n");
	prints(t, table_print_record, "");
	assert_int_equal(table_print_json_record(t, stdout), -ENOENT);
}

static void json_has_all_members_as_they_are(void **state)
{
	struct table *t AUTO(table_freep) = table_new(two);

	assert_int_equal(
		table_add(t, json_pack("{s:I, s:s}", "a", (json_int_t)1 << 40, "c", "\x1b[31m")),
		0);
	prints(t, table_print_json,
		"[\n  {\n    \"a\": 1099511627776,\n    \"c\": \"\\u001B[31m\"\n  }\n]\n");
	prints(t, table_print_json_record,
		"{\n  \"a\": 1099511627776,\n  \"c\": \"\\u001B[31m\"\n}\n");
}

static void terminal_sequences_in_values_are_harmless(void **state)
{
	struct table *t AUTO(table_freep) = table_new(two);

	assert_int_equal(table_add(t, json_pack("{s:s, s:s}", "a", "x\x1b[2J\n\ty\x7f", "b",
					      "\xc2\x9b"
					      "31m\xe2\x80\xae"
					      "abc")),
		0);
	prints(t, table_print, "FIRST      SECOND\nx?[2J??y?  ?31m?abc\n");
}

static void columns_count_characters_not_bytes(void **state)
{
	struct table *t AUTO(table_freep) = table_new(two);

	assert_int_equal(table_add(t, json_pack("{s:s, s:s}", "a",
					      "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "b", "x")),
		0);
	assert_int_equal(table_add(t, json_pack("{s:s, s:s}", "a", "abcdef", "b", "y")), 0);
	prints(t, table_print,
		"FIRST   SECOND\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80     x\nabcdef  y\n");
}

static void record_is_a_line_for_each_title(void **state)
{
	struct table *t AUTO(table_freep) = images();

	prints(t, table_print_record,
		"NAME:     debian:latest\nSIZE:     343 MiB\nCPUS:     1\nDIGEST:   0123456789ab\n"
		"CREATED:  2023-11-14 22:13\nUP:       3m05s\nNOTE:     9p,nfs\n");
}

static int member_print(const struct table *t, FILE *out)
{
	table_print_member(t, "name", out);
	table_print_member(t, "absent", out);
	return 0;
}

static void member_is_a_line_for_each_row(void **state)
{
	struct table *t AUTO(table_freep) = images();

	prints(t, member_print, "debian:latest\nel9\n");
}

static void row_that_could_not_be_made_is_out_of_memory(void **state)
{
	struct table *t AUTO(table_freep) = table_new(two);

	assert_int_equal(table_add(t, NULL), -ENOMEM);
	prints(t, table_print_json, "[]\n");
	assert_null(table_free(NULL));
}

static void flushed_rows_are_aligned_with_those_before(void **state)
{
	struct table *t AUTO(table_freep) = table_new(two);
	autofree char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	table_add(t, json_pack("{s:s, s:i}", "a", "x", "b", 1));
	assert_int_equal(table_flush(t, out), 0);
	assert_int_equal(json_array_size(table_rows(t)), 0);
	table_add(t, json_pack("{s:s, s:i}", "a", "y", "b", 2));
	table_add(t, json_pack("{s:s, s:i}", "a", "a long one", "b", 3));
	assert_int_equal(table_flush(t, out), 0);
	table_add(t, json_pack("{s:s, s:i}", "a", "z", "b", 4));
	assert_int_equal(table_flush(t, out), 0);
	assert_int_equal(table_flush(t, out), 0);
	fclose(out);
	assert_string_equal(text, "FIRST  SECOND\nx      1\ny           2\na long one  3\n"
				  "z           4\n");
}

static void flushed_json_is_one_array(void **state)
{
	struct table *t AUTO(table_freep) = table_new(two);
	autofree char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	table_add(t, json_pack("{s:s, s:i}", "a", "x", "c", 1));
	assert_int_equal(table_flush_json(t, false, out), 0);
	assert_int_equal(table_flush_json(t, false, out), 0);
	table_add(t, json_pack("{s:s}", "a", "y"));
	table_add(t, json_pack("{s:s}", "a", "z"));
	assert_int_equal(table_flush_json(t, true, out), 0);
	fclose(out);
	assert_string_equal(text, "[\n{\"a\":\"x\",\"c\":1},\n{\"a\":\"y\"},\n{\"a\":\"z\"}\n]\n");
}

static void times_may_be_texts(void **state)
{
	static const struct table_column time[] = {{"t", "TIME", TABLE_TIME}, {.key = NULL}};
	struct table *t AUTO(table_freep) = table_new(time);

	setenv("TZ", "UTC", 1);
	table_add(t, json_pack("{s:s}", "t", "2026-11-21T17:51:59.500000Z"));
	table_add(t, json_pack("{s:s}", "t", "not yet"));
	prints(t, table_print, "TIME\n2026-11-21 17:51\nnot yet\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_aligned_below_their_titles),
		cmocka_unit_test(empty_table_has_its_titles),
		cmocka_unit_test(json_has_all_members_as_they_are),
		cmocka_unit_test(terminal_sequences_in_values_are_harmless),
		cmocka_unit_test(columns_count_characters_not_bytes),
		cmocka_unit_test(record_is_a_line_for_each_title),
		cmocka_unit_test(member_is_a_line_for_each_row),
		cmocka_unit_test(flushed_rows_are_aligned_with_those_before),
		cmocka_unit_test(flushed_json_is_one_array),
		cmocka_unit_test(times_may_be_texts),
		cmocka_unit_test(row_that_could_not_be_made_is_out_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
