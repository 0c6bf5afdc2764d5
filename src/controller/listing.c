#include "controller/listing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "controller/route.h"
#include "controller/statement.h"
#include "lib/parse.h"
#include "lib/timestamp.h"

/* Values in one filter's list. */

void listing_add_columns(struct statement *s, const struct listing *l)
{
	for (const struct listing_column *c = l->columns; c->name; c++)
		statement_add(s, "%s%s", c == l->columns ? "" : ", ", c->sql);
}

static void add_columns(struct statement *s, const struct listing *l)
{
	statement_add(s, "SELECT ");
	listing_add_columns(s, l);
	statement_add(s, ", %s, %s FROM %s", l->revision ? l->revision : "0",
		l->item ? l->item : "NULL", l->table);
}

static size_t count_columns(const struct listing *l)
{
	size_t n = 0;

	while (l->columns[n].name)
		n++;
	return n;
}

static void add_groups(struct statement *s, const struct listing *l, char **groups)
{
	statement_add(s, " OR %s IN (SELECT name FROM node WHERE hostgroup IN (", l->node);
	for (size_t i = 0; groups[i]; i++) {
		statement_add(s, i ? ", " : "");
		statement_add_value(s, sql_text(groups[i]));
	}
	statement_add(s, "))");
	s->once = true;
}

void listing_add_restriction(
	struct statement *s, const struct listing *l, const struct caller *caller)
{
	if (caller->kind == CALLER_NODE && l->node) {
		statement_add_where(s);
		statement_add(s, "%s = ", l->node);
		statement_add_value(s, sql_text(caller->name));
	} else if (caller->kind != CALLER_NODE && l->owner &&
		   !(caller->roles & ROLE_ADMINISTRATOR)) {
		statement_add_where(s);
		if (caller->kind != CALLER_USER || !caller->name[0]) {
			statement_add(s, "1 = 0");
			return;
		}
		statement_add(s, "(%s = ", l->owner);
		statement_add_value(s, sql_text(caller->name));
		if (l->node && caller->groups && caller->groups[0])
			add_groups(s, l, caller->groups);
		statement_add(s, ")");
	}
}

/* Adds the value of a column that somebody has written. Returns 0 or -EINVAL. */
static int add_value(struct statement *s, const struct listing_column *column, const char *text,
	struct error *err)
{
	uint64_t number;
	bool yes;
	int r = 0;

	switch (column->type) {
	case LISTING_NUMBER:
		r = parse_number(text, 0, INT64_MAX, &number, err);
		break;
	case LISTING_BOOL:
		r = parse_bool(text, &yes, err);
		number = r == 0 && yes;
		break;
	case LISTING_TIME:
		if (timestamp_parse(text, &number) < 0)
			r = fail(
				err, -EINVAL, "'%s' is no time such as 2026-11-21T17:51:00Z", text);
		break;
	default:
		statement_add_copy(s, text);
		return 0;
	}
	if (r < 0)
		return fail_within(err, "'%s'", column->name);
	statement_add_value(s, sql_number((int64_t)MIN_OF(number, (uint64_t)INT64_MAX)));
	return 0;
}

static int add_filter(struct statement *s, const struct listing_column *column, const char *text,
	struct error *err)
{
	autofree char *list = strdup(text);
	char *rest = list, *item;
	size_t count = 0;
	int r = 0;

	if (!list)
		return fail(err, -ENOMEM, "out of memory");
	statement_add_where(s);
	statement_add(s, "%s IN (", column->sql);
	while (r == 0 && (item = strsep(&rest, ","))) {
		if (count == LISTING_VALUES_MAX)
			return fail(err, -EINVAL, "'%s': more than %d values; ask several times",
				column->name, LISTING_VALUES_MAX);
		statement_add(s, count++ ? ", " : "");
		r = add_value(s, column, item, err);
	}
	statement_add(s, ")");
	s->once = true;
	return r;
}

static const struct listing_column *find_column(const struct listing *l, const char *name)
{
	for (const struct listing_column *c = l->columns; c->name; c++)
		if (c->filter && streq(c->name, name))
			return c;
	return NULL;
}

static bool is_query(const struct route *route, const char *name)
{
	for (const struct route_query *q = route->queries; q && q->name; q++)
		if (streq(q->name, name))
			return true;
	return !route->one && (streq(name, "limit") || streq(name, "after"));
}

/* Says which there are. */
static int unknown_filter(struct exchange *x, const char *name)
{
	const struct route *route = x->route;
	char known[ERROR_TEXT_MAX / 2] = "";
	size_t used = 0;

	for (const struct listing_column *c = route->listing->columns; !route->one && c->name; c++)
		if (c->filter && used < sizeof(known))
			used += (size_t)snprintf(
				known + used, sizeof(known) - used, ", %s", c->name);
	for (const struct route_query *q = route->queries; q && q->name; q++)
		if (used < sizeof(known))
			used += (size_t)snprintf(
				known + used, sizeof(known) - used, ", %s", q->name);
	if (route->one)
		return exchange_fail(x, 400, "one %s is not filtered, by '%.64s' neither",
			route->listing->noun, name);
	return exchange_fail(x, 400, "there is no filter '%.64s' of %ss; there are limit, after%s",
		name, route->listing->noun, known);
}

/* Returns 0, or the status with the error said. */
static int add_filters(struct exchange *x, struct statement *s)
{
	const struct listing *l = x->route->listing;
	struct error err = {0};
	const char *name;
	json_t *value;

	json_object_foreach(x->query, name, value)
	{
		const struct listing_column *column =
			x->route->one || is_query(x->route, name) ? NULL : find_column(l, name);

		if (!column && !is_query(x->route, name))
			return unknown_filter(x, name);
		if (column && add_filter(s, column, json_string_value(value), &err) < 0)
			return exchange_fail(x, 400, "%s", err.text);
	}
	return 0;
}

static int add_page(struct exchange *x, struct statement *s, uint64_t limit)
{
	const struct listing *l = x->route->listing;
	const char *after = exchange_query(x, "after");
	struct error err = {0};

	if (after) {
		statement_add_where(s);
		statement_add(s, "%s %c ", l->columns[0].sql, l->newest_first ? '<' : '>');
		if (add_value(s, &l->columns[0], after, &err) < 0)
			return exchange_fail(
				x, 400, "cannot go on after '%.64s': %s", after, err.text);
	}
	statement_add(
		s, " ORDER BY %s%s LIMIT ", l->columns[0].sql, l->newest_first ? " DESC" : "");
	/* One more shows whether there is a next page. */
	statement_add_value(s, sql_number((int64_t)limit + 1));
	return 0;
}

static json_t *column_to_json(const struct sql_rows *rows, int i, enum listing_type type)
{
	char time[TIMESTAMP_TEXT_SIZE];

	if (sql_rows_is_null(rows, i))
		return json_null();
	switch (type) {
	case LISTING_NUMBER:
		return json_integer(sql_rows_number(rows, i));
	case LISTING_BOOL:
		return json_boolean(sql_rows_number(rows, i) != 0);
	case LISTING_TIME:
		if (sql_rows_number(rows, i) <= 0)
			return json_null();
		timestamp_format((uint64_t)sql_rows_number(rows, i), time);
		return json_string(time);
	case LISTING_JSON:
		return json_loads(sql_rows_text(rows, i), JSON_DECODE_ANY, NULL);
	case LISTING_TEXT:
		break;
	}
	return json_string(sql_rows_text(rows, i));
}

json_t *listing_to_json(const struct listing *l, const struct sql_rows *rows)
{
	json_t *row = json_object();

	for (int i = 0; row && l->columns[i].name; i++)
		/* What is no JSON any more is not worth losing the row. */
		if (json_object_set_new(row, l->columns[i].name,
			    column_to_json(rows, i, l->columns[i].type)) < 0)
			json_object_set_new(row, l->columns[i].name, json_null());
	return row;
}

/* What is shown of a row that has the ETag and the item behind the columns. */
static json_t *row_to_json(const struct listing *l, const struct sql_rows *rows)
{
	json_t *item;

	if (!l->item)
		return listing_to_json(l, rows);
	item = column_to_json(rows, (int)count_columns(l) + 1, LISTING_JSON);
	return item ? item : json_null();
}

/* Adds to `items`; *ret_last becomes the key of the last one. Returns 1 if there are more than
 * `limit` rows, 0, or negative errno. */
static int read_page(struct statement *s, struct sql *db, const struct listing *l, uint64_t limit,
	json_t *items, json_t **ret_last, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = statement_select(s, db, &rows, err);

	if (r < 0)
		return r;
	while ((r = sql_rows_next(rows, err)) > 0) {
		if (json_array_size(items) == limit)
			return 1;
		if (json_array_append_new(items, row_to_json(l, rows)) < 0)
			return fail(err, -ENOMEM, "out of memory");
		json_decref(*ret_last);
		*ret_last = column_to_json(rows, 0, l->columns[0].type);
	}
	return r;
}

static int answer_page(struct exchange *x, struct sql *db, struct statement *s, uint64_t limit)
{
	const struct listing *l = x->route->listing;
	json_t *items = json_array(), *last = NULL;
	struct error err = {0};
	int r = items ? read_page(s, db, l, limit, items, &last, &err) : -ENOMEM;

	if (r < 0) {
		json_decref(items);
		json_decref(last);
		return r == -E2BIG ? exchange_fail(x, 400, "%s", err.text)
				   : exchange_fail_sql(x, r, &err);
	}
	if (r == 0 || !last) {
		json_decref(last);
		last = json_null();
	}
	return exchange_answer(x, 200, json_pack("{s:o, s:o}", "items", items, "next", last));
}

static int run_page(struct exchange *x, struct sql *db, struct statement *s)
{
	const char *text = exchange_query(x, "limit");
	uint64_t limit = LISTING_LIMIT;
	struct error err = {0};
	int status;

	if (text && parse_number(text, 1, LISTING_LIMIT_MAX, &limit, &err) < 0)
		return exchange_fail(
			x, 400, "'limit' is not a number from 1 to %d", LISTING_LIMIT_MAX);
	status = add_page(x, s, limit);
	return status ? status : answer_page(x, db, s, limit);
}

/* The last part of the path that is a parameter. */
static const char *last_param(const struct exchange *x)
{
	size_t count = 0;

	for (const char *p = x->route->path; *p; p++)
		count += *p == '{';
	return x->params[count > 0 && count <= EXCHANGE_PARAMS_MAX ? count - 1 : 0];
}

/* As listing_get(), of a statement that has its other conditions. */
static int read_one(struct statement *s, struct sql *db, const struct listing *l, const char *key,
	json_t **ret, int64_t *ret_revision, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	struct error unused;
	int r;

	statement_add_where(s);
	statement_add(s, "%s = ", l->columns[0].sql);
	if (add_value(s, &l->columns[0], key, &unused) < 0)
		return 0;
	r = statement_select(s, db, &rows, err);
	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	*ret = row_to_json(l, rows);
	if (ret_revision)
		*ret_revision = sql_rows_number(rows, (int)count_columns(l));
	return *ret ? 1 : fail(err, -ENOMEM, "out of memory");
}

static int run_one(struct exchange *x, struct sql *db, struct statement *s)
{
	const struct listing *l = x->route->listing;
	struct error err = {0};
	int64_t revision;
	json_t *row;
	int r = read_one(s, db, l, last_param(x), &row, &revision, &err);

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0)
		return exchange_fail(
			x, 404, "there is no %s '%.128s' that you may see", l->noun, last_param(x));
	if (l->revision)
		exchange_set_etag(x, revision);
	return exchange_answer(x, 200, row);
}

int listing_run_with(struct exchange *x, struct sql *db, const struct listing_condition *conditions)
{
	struct statement s AUTO(statement_done) = {0};
	int status;

	add_columns(&s, x->route->listing);
	for (; conditions && conditions->sql; conditions++)
		statement_add_condition(&s, conditions->sql, conditions->value);
	listing_add_restriction(&s, x->route->listing, &x->caller);
	status = add_filters(x, &s);
	if (status)
		return status;
	return x->route->one ? run_one(x, db, &s) : run_page(x, db, &s);
}

int listing_run(struct exchange *x, struct sql *db)
{
	return listing_run_with(x, db, NULL);
}

int listing_get(struct sql *db, const struct listing *l, const char *key, json_t **ret,
	int64_t *ret_revision, struct error *err)
{
	struct statement s AUTO(statement_done) = {0};

	add_columns(&s, l);
	return read_one(&s, db, l, key, ret, ret_revision, err);
}

static json_t *column_to_schema(const struct listing_column *column)
{
	static const struct {
		const char *type, *format;
	} types[] = {
		[LISTING_TEXT] = {"string", NULL},
		[LISTING_NUMBER] = {"integer", "int64"},
		[LISTING_BOOL] = {"boolean", NULL},
		[LISTING_TIME] = {"string", "date-time"},
		[LISTING_JSON] = {NULL, NULL},
	};

	return json_pack("{s:s*, s:s*, s:s*, s:b}", "type", types[column->type].type, "format",
		types[column->type].format, "description", column->help, "nullable", 1);
}

json_t *listing_to_schema(const struct listing *l)
{
	json_t *properties = json_object();

	for (const struct listing_column *c = l->columns; properties && !l->item && c->name; c++)
		if (json_object_set_new(properties, c->name, column_to_schema(c)) < 0) {
			json_decref(properties);
			return NULL;
		}
	return json_pack("{s:s, s:o}", "type", "object", "properties", properties);
}
