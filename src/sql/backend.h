/* What a database must be able to do to be one of ours; sql.c does the rest. */
#pragma once

#include "sql/sql.h"

struct sql_backend {
	const char *prefix; /* of its URLs */
	enum sql_kind kind;
	int (*open)(const char *url, struct sql **ret, struct error *err);
	void (*close)(struct sql *s);
	/* Runs a statement. ret_rows NULL: it gives none, and how many rows it has changed is
	 * returned. `keep`: the text is a constant, and asked for again. */
	int (*run)(struct sql *s, const char *text, const struct sql_value *values, size_t count,
		bool keep, struct sql_rows **ret_rows, struct error *err);
	/* Sends it with the next one, whose failure its own is then, and not to be undone. NULL:
	 * runs it. */
	int (*run_later)(struct sql *s, const char *text, const struct sql_value *values,
		size_t count, struct error *err);
	/* Has the server left a connection that is not in use? NULL: there is no server. */
	bool (*is_left)(struct sql *s);
	int (*rows_next)(struct sql_rows *rows, struct error *err);
	void (*rows_close)(struct sql_rows *rows);
	int (*rows_count)(const struct sql_rows *rows);
	const char *(*rows_name)(const struct sql_rows *rows, int column);
	bool (*rows_is_number)(const struct sql_rows *rows, int column);
	bool (*rows_is_null)(const struct sql_rows *rows, int column);
	const char *(*rows_text)(const struct sql_rows *rows, int column);
	int64_t (*rows_number)(const struct sql_rows *rows, int column);
	/* `patient`: its statements may take long. */
	int (*begin)(struct sql *s, bool patient, struct error *err);
	int (*commit)(struct sql *s, struct error *err);
	void (*rollback)(struct sql *s);
	int (*savepoint)(struct sql *s, struct error *err);
	int (*release)(struct sql *s, struct error *err);
	int (*undo)(struct sql *s, struct error *err);
	/* For scripts: words and what they become, up to a NULL. */
	const struct sql_word {
		const char *word, *becomes;
	} * words;
	const char *tables; /* counts those called ?1; all, if it is NULL */
};

/* A back end's own begins with this. */
struct sql {
	const struct sql_backend *backend;
	bool in_transaction;
	bool broken;
	/* The first failure in a transaction, after which it takes no more statements: PostgreSQL
	 * is like that, so that SQLite had better be. */
	struct error failed;
};

struct sql_rows {
	struct sql *s;
};

extern const struct sql_backend sql_sqlite, sql_postgres;
