#include "controller/record_summary.h"

#include <errno.h>

#include "controller/record.h"
#include "controller/statement.h"
#include "lib/timestamp.h"

/* Rows of an answer. */
#define GROUPS_MAX 10000

#define BY_USUAL "month,user"

/* What may be summed up by, and filtered by. */
static const struct {
	const char *name, *sql;
} keys[] = {
	{"month", "record.month"},
	{"user", "record.username"},
	{"account", "record.account"},
	{"image", "record.image"},
	{"node", "record.node"},
};

const struct route_query record_summary_queries[] = {
	{"by", "A sum for each of these: month, user, account, image, node, with commas between",
		QUERY_TEXT},
	{"since", "Only VMs that ended then or later", QUERY_TIME},
	{"until", "Only VMs that ended before", QUERY_TIME},
	{"month", "Only this month, as '2026-11'", QUERY_TEXT},
	{"user", "Only VMs of this user", QUERY_TEXT},
	{"account", "Only VMs of jobs of this account", QUERY_TEXT},
	{"image", "Only VMs of this image", QUERY_TEXT},
	{"node", "Only VMs of this node", QUERY_TEXT},
	{.name = NULL},
};

/* Which keys, in the order in which they were asked for. */
struct by {
	size_t keys[ARRAY_SIZE(keys)];
	size_t count;
};

bool record_get_time(const struct exchange *x, const char *name, uint64_t *ret_us)
{
	const char *text = exchange_query(x, name);

	if (!text || timestamp_parse(text, ret_us) < 0)
		return false;
	*ret_us = MIN_OF(*ret_us, (uint64_t)INT64_MAX);
	return true;
}

/* Returns 0, or the status with the error said. */
static int add_key(struct exchange *x, struct by *by, const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!streq(keys[i].name, word))
			continue;
		for (size_t j = 0; j < by->count; j++)
			if (by->keys[j] == i)
				return exchange_fail(x, 400, "?by has '%s' twice", word);
		by->keys[by->count++] = i;
		return 0;
	}
	return exchange_fail(x, 400,
		"?by has '%.64s', which is none of month, user, account, image and node", word);
}

static int parse_by(struct exchange *x, struct by *ret)
{
	const char *text = exchange_query(x, "by");
	autofree char *list = strdup(text ? text : BY_USUAL);
	char *rest = list, *word;
	int status = 0;

	if (!list)
		return exchange_answer(x, 500, NULL);
	while (status == 0 && (word = strsep(&rest, ",")))
		status = add_key(x, ret, word);
	return status;
}

/* Times are summed up in milliseconds, of which there is room for all. */
static void add_select(struct statement *s, const struct by *by)
{
	statement_add(s, "SELECT count(*), CAST(sum(wall_us / 1000) AS BIGINT),"
			 " CAST(sum(cpu_us / 1000) AS BIGINT),"
			 " CAST(sum(wall_us / 1000 * CASE WHEN cpus > 1 THEN cpus ELSE 1 END)"
			 " AS BIGINT)");
	for (size_t i = 0; i < by->count; i++)
		statement_add(s, ", %s", keys[by->keys[i]].sql);
	statement_add(s, " FROM record");
}

static void add_conditions(struct exchange *x, struct statement *s)
{
	const char *text;
	uint64_t us;

	listing_add_restriction(s, &record_listing, &x->caller);
	if (record_get_time(x, "since", &us))
		statement_add_condition(s, "record.ended >= ?", sql_number((int64_t)us));
	if (record_get_time(x, "until", &us))
		statement_add_condition(s, "record.ended < ?", sql_number((int64_t)us));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		text = exchange_query(x, keys[i].name);
		if (!text)
			continue;
		statement_add_where(s);
		statement_add(s, "%s = ", keys[i].sql);
		statement_add_value(s, sql_text(text));
	}
}

/* "GROUP BY 5, 6 ORDER BY 5, 6": of the columns behind the sums. */
static void add_order(struct statement *s, const struct by *by)
{
	for (size_t i = 0; i < by->count; i++)
		statement_add(s, "%s%zu", i ? ", " : " GROUP BY ", i + 5);
	for (size_t i = 0; i < by->count; i++)
		statement_add(s, "%s%zu", i ? ", " : " ORDER BY ", i + 5);
	statement_add(s, " LIMIT ");
	statement_add_value(s, sql_number(GROUPS_MAX + 1));
}

static json_t *row_to_json(const struct sql_rows *rows, const struct by *by)
{
	json_t *row = json_pack("{s:I, s:f, s:f, s:f}", "vms", (json_int_t)sql_rows_number(rows, 0),
		"wall_s", (double)sql_rows_number(rows, 1) / 1000, "cpu_s",
		(double)sql_rows_number(rows, 2) / 1000, "core_s",
		(double)sql_rows_number(rows, 3) / 1000);

	for (size_t i = 0; row && i < by->count; i++) {
		const char *text = sql_rows_text(rows, (int)i + 4);

		json_object_set_new(
			row, keys[by->keys[i]].name, text ? json_string(text) : json_null());
	}
	return row;
}

/* Returns 0, -E2BIG for more than a reader can want, or another negative errno. */
static int read_rows(
	struct statement *s, struct sql *db, const struct by *by, json_t *items, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = statement_select(s, db, &rows, err);

	while (r >= 0 && (r = sql_rows_next(rows, err)) > 0) {
		if (json_array_size(items) == GROUPS_MAX)
			return fail(err, -E2BIG,
				"there are more than %d sums; ask for fewer keys, or a shorter time",
				GROUPS_MAX);
		if (json_array_append_new(items, row_to_json(rows, by)) < 0)
			return fail(err, -ENOMEM, "out of memory");
	}
	return r;
}

int record_summary_run(struct exchange *x, struct sql *db)
{
	struct statement s AUTO(statement_done) = {.once = true};
	struct by by = {0};
	struct error err = {0};
	json_t *items;
	int r, status = parse_by(x, &by);

	if (status)
		return status;
	add_select(&s, &by);
	add_conditions(x, &s);
	add_order(&s, &by);
	items = json_array();
	r = items ? read_rows(&s, db, &by, items, &err) : -ENOMEM;
	if (r == 0)
		return exchange_answer(x, 200, json_pack("{s:o}", "items", items));
	json_decref(items);
	return r == -E2BIG ? exchange_fail(x, 400, "%s", err.text) : exchange_fail_sql(x, r, &err);
}
