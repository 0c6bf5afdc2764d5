/* Lists: what a noun's rows look like outside, how they are filtered and paged. One table of
 * columns gives the SQL, the JSON, the filters and the schema.
 *
 * Pages go by the key: ?limit=100&after=KEY; the answer is {"items":[...],"next":KEY or null}. A
 * filter is ?COLUMN=VALUE, of columns that may be filtered by; several must all hold, VALUE may be
 * a list "a,b". */
#pragma once

#include "controller/exchange.h"

#define LISTING_LIMIT      100 /* without ?limit= */
#define LISTING_LIMIT_MAX  1000
#define LISTING_VALUES_MAX 50 /* of one filter */

struct statement;

enum listing_type {
	LISTING_TEXT,
	LISTING_NUMBER,
	LISTING_BOOL, /* 0 or 1 */
	LISTING_TIME, /* us since the epoch, written as RFC 3339; 0 or NULL: null */
	LISTING_JSON, /* a text that is JSON */
};

struct listing_column {
	const char *name; /* in JSON, and of the filter */
	const char *sql;  /* of the table; a text constant */
	enum listing_type type;
	bool filter;
	const char *help; /* a phrase for the published schema */
};

struct listing {
	const char *noun;  /* "node", for messages and the schema's name */
	const char *table; /* or several, joined: "lease JOIN ..." */
	const struct listing_column
		*columns; /* end with a NULL name; the first is the key, unique */
	/* Whose rows a user sees: the column (SQL) that must be the user's name; NULL: all. Who
	 * administers host groups sees those of their nodes too, if `node` is there; who
	 * administers the site sees all. */
	const char *owner;
	/* Whose rows a node sees: the column that must be the node's name; NULL: all. */
	const char *node;
	const char *revision; /* the column of the ETag; NULL: none */
	/* A column whose JSON is shown instead of the columns, which are then for filters and pages
	 * only; NULL: the columns are shown. */
	const char *item;
	bool newest_first; /* pages go down by the key */
};

/* Answers a page, or one row (`one`: the key is the last parameter). Returns the status. */
int listing_run(struct exchange *x, struct sql *db);

/* What a handler asks of the rows beside the filters: SQL with one '?' for the value, or none. */
struct listing_condition {
	const char *sql; /* a text constant */
	struct sql_value value;
};

#define LISTING_CONDITIONS_MAX 8

/* The same with conditions, up to one whose `sql` is NULL. */
int listing_run_with(
	struct exchange *x, struct sql *db, const struct listing_condition *conditions);

/* Adds the condition that the caller may see a row, if there is one. */
void listing_add_restriction(
	struct statement *s, const struct listing *l, const struct caller *caller);

/* For statements of one's own: adds the columns, "a, b, c", and makes a new object of a row that
 * has them first; NULL when out of memory. */
void listing_add_columns(struct statement *s, const struct listing *l);
json_t *listing_to_json(const struct listing *l, const struct sql_rows *rows);

/* One row as a new object, *ret_revision (may be NULL) its revision. Returns 1, 0 if there is none,
 * or negative errno. Whose it is does not matter here. */
int listing_get(struct sql *db, const struct listing *l, const char *key, json_t **ret,
	int64_t *ret_revision, struct error *err);

/* A new JSON Schema of a row. */
json_t *listing_to_schema(const struct listing *l);
