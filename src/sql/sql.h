/* SQL databases, SQLite and PostgreSQL behind one interface. What is written here is the part of
 * SQL that both understand: parameters ?1 to ?9 (or more), ON CONFLICT, RETURNING, texts and
 * 64-bit integers.
 *
 * A connection is used by one thread at a time. A statement is a text constant (its address is its
 * name), prepared once a connection and kept. */
#pragma once

#include "lib/error.h"

struct sql;
struct sql_rows;

enum sql_kind { SQL_SQLITE, SQL_POSTGRES };

/* `url` is "sqlite:/path/of/file" (made if it is missing, mode 0600, WAL, synchronous=FULL) or
 * "postgresql://..." as libpq has it. Waits some seconds for a server at most. Returns 0;
 * -EBADMSG for a file that is no database or damaged; -ENOTCONN where no server answers; or another
 * negative errno. Passwords do not come into messages. */
int sql_open(const char *url, struct sql **ret, struct error *err);
struct sql *sql_free(struct sql *s);
DEFINE_CLEANUP(struct sql *, sql_free)

enum sql_kind sql_kind(const struct sql *s);

/* Is the connection still usable? One that a call has returned -ENOTCONN of is not; it is to be
 * freed and another opened. */
bool sql_is_broken(const struct sql *s);

/* Before a connection that was not in use serves again: has its server closed it meanwhile? Then it
 * is broken. Does not wait. */
bool sql_is_left(struct sql *s);

struct sql_value {
	enum { SQL_NULL, SQL_NUMBER, SQL_TEXT } type;
	int64_t number;
	const char *text;
};

static inline struct sql_value sql_number(int64_t number)
{
	return (struct sql_value){.type = SQL_NUMBER, .number = number};
}

/* NULL becomes the NULL of a text. */
static inline struct sql_value sql_text(const char *text)
{
	return (struct sql_value){.type = SQL_TEXT, .text = text};
}

/* For what is not a text; the statement must say by itself what it is then. */
static inline struct sql_value sql_null(void)
{
	return (struct sql_value){.type = SQL_NULL};
}

/* Runs a statement that gives no rows. Returns how many rows it has changed, or -EEXIST (a unique
 * key is taken), -EINVAL (a constraint), -ENOTCONN (the connection is lost; what became of a
 * COMMIT is then unknown), -ENOSPC, -EBUSY, -EAGAIN (a deadlock or serialisation failure: try the
 * whole transaction again) or another negative errno.
 *   sql_change(s, err, "DELETE FROM node WHERE name = ?1", sql_text(name)) */
#define sql_change(s, err, text, ...)                                                       \
	sql_change_values(s, err, text, (const struct sql_value[]){{0}, ##__VA_ARGS__} + 1, \
		ARRAY_SIZE(((const struct sql_value[]){{0}, ##__VA_ARGS__})) - 1)
int sql_change_values(struct sql *s, struct error *err, const char *text,
	const struct sql_value *values, size_t count);

/* As sql_change(), where nobody asks how many rows are changed and nothing but the database can be
 * wrong: a statement that may travel with the next one, so that it is not waited for. If it fails,
 * the next one or the commit does, and then the whole transaction; a savepoint does not help.
 * Returns 0 or negative errno. */
#define sql_change_later(s, err, text, ...)                                                       \
	sql_change_later_values(s, err, text, (const struct sql_value[]){{0}, ##__VA_ARGS__} + 1, \
		ARRAY_SIZE(((const struct sql_value[]){{0}, ##__VA_ARGS__})) - 1)
int sql_change_later_values(struct sql *s, struct error *err, const char *text,
	const struct sql_value *values, size_t count);

/* Runs a statement that gives rows. *ret is read to its end or freed before the next statement of
 * this connection. Returns 0 or negative errno as above. */
#define sql_select(s, err, ret, text, ...)                                                       \
	sql_select_values(s, err, ret, text, (const struct sql_value[]){{0}, ##__VA_ARGS__} + 1, \
		ARRAY_SIZE(((const struct sql_value[]){{0}, ##__VA_ARGS__})) - 1)
int sql_select_values(struct sql *s, struct error *err, struct sql_rows **ret, const char *text,
	const struct sql_value *values, size_t count);

/* For statements that are put together at run time (of constants only): as above, not kept. */
int sql_change_once(struct sql *s, struct error *err, const char *text,
	const struct sql_value *values, size_t count);
int sql_select_once(struct sql *s, struct error *err, struct sql_rows **ret, const char *text,
	const struct sql_value *values, size_t count);

/* Returns 1 with a row, 0 at the end, or negative errno. */
int sql_rows_next(struct sql_rows *rows, struct error *err);
struct sql_rows *sql_rows_free(struct sql_rows *rows);
DEFINE_CLEANUP(struct sql_rows *, sql_rows_free)

/* Columns are counted from 0; of the row that sql_rows_next() gave, valid until the next call.
 * Text is NULL for NULL, a number 0. */
const char *sql_rows_text(const struct sql_rows *rows, int column);
int64_t sql_rows_number(const struct sql_rows *rows, int column);
bool sql_rows_is_null(const struct sql_rows *rows, int column);

/* How many columns there are, what they are called, and whether one holds 64-bit numbers. */
int sql_rows_count(const struct sql_rows *rows);
const char *sql_rows_name(const struct sql_rows *rows, int column);
bool sql_rows_is_number(const struct sql_rows *rows, int column);

/* The first column of the first row as a number. Returns 1, 0 where there is no row, or -errno. */
#define sql_get_number(s, err, ret, text, ...)                      \
	sql_get_number_values(s, err, ret, text,                    \
		(const struct sql_value[]){{0}, ##__VA_ARGS__} + 1, \
		ARRAY_SIZE(((const struct sql_value[]){{0}, ##__VA_ARGS__})) - 1)
int sql_get_number_values(struct sql *s, struct error *err, int64_t *ret, const char *text,
	const struct sql_value *values, size_t count);

/* A transaction that may write: in the whole site one at a time (BEGIN IMMEDIATE; an advisory lock
 * of PostgreSQL's), so that what is read in it does not change. After a statement in it has failed,
 * it takes no others (as PostgreSQL has it) until sql_undo() or sql_rollback(): where a key may be
 * taken already, say ON CONFLICT. sql_commit() has ended it in any case. */
int sql_begin(struct sql *s, struct error *err);
int sql_commit(struct sql *s, struct error *err);
void sql_rollback(struct sql *s);

/* As sql_begin(), and its statements may take as long as they need: tables are changed or copied.
 */
int sql_begin_patient(struct sql *s, struct error *err);

/* Why the connection or its transaction takes no more statements: 0 or a negative errno. */
int sql_failure(const struct sql *s, struct error *err);

/* Within one: what was done since the savepoint is kept or undone. One level. */
int sql_savepoint(struct sql *s, struct error *err);
int sql_release(struct sql *s, struct error *err);
int sql_undo(struct sql *s, struct error *err);

/* A script of several statements separated by ";\n", for schemas, within the caller's transaction.
 * Texts of its tables are compared byte by byte. */
int sql_script(struct sql *s, const char *text, struct error *err);

/* How many tables are called `name`, or there are at all (NULL). Returns that or negative errno. */
int sql_count_tables(struct sql *s, const char *name, struct error *err);
