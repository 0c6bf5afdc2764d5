/* A statement that is put together at run time: its text of constants only, and whatever comes
 * from outside as values. */
#pragma once

#include "lib/strv.h"
#include "sql/sql.h"

#define STATEMENT_TEXT_MAX   8192
#define STATEMENT_VALUES_MAX 256

/* Begins as {0}. */
struct statement {
	char text[STATEMENT_TEXT_MAX];
	size_t used;
	struct sql_value values[STATEMENT_VALUES_MAX];
	size_t count;
	struct strv copies; /* texts that live as long as the statement */
	bool where;         /* there is a condition already */
	bool once;          /* one of very many: it is not worth being kept */
	bool failed;        /* too long, or out of memory: found when it is run */
};

void statement_done(struct statement *s);

/* Adds text. What is printed is constants: names of columns and the like. */
void statement_add(struct statement *s, const char *format, ...) PRINTF(2, 3);

/* Adds " WHERE " or " AND ". */
void statement_add_where(struct statement *s);

/* Adds "?N" and its value, whose text is borrowed, or copied. */
void statement_add_value(struct statement *s, struct sql_value value);
void statement_add_copy(struct statement *s, const char *text);

/* Adds `text` with its only '?' in the value's place. */
void statement_add_condition(struct statement *s, const char *text, struct sql_value value);

/* As sql_change() and sql_select(). Statements that are not `once` are prepared one time a
 * connection. */
int statement_change(struct statement *s, struct sql *db, struct error *err);
int statement_select(struct statement *s, struct sql *db, struct sql_rows **ret, struct error *err);
