/* Lists for people and for programs, from the same rows.
 *
 * A verb describes its columns once and gives each row as a JSON object. People see the columns
 * that have a title, formatted and aligned; --json shows the objects as they are, with all their
 * members, so that programs get bytes and seconds as plain numbers.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "lib/error.h"

enum table_format {
	TABLE_TEXT,     /* as it is; lists with commas, true and false as yes and no */
	TABLE_NUMBER,   /* right-aligned, as are the next two */
	TABLE_SIZE,     /* bytes, shown as "1.5 GiB" */
	TABLE_DURATION, /* microseconds, shown as "3m05s" */
	TABLE_TIME, /* seconds since the epoch, or a text (lib/timestamp.h); shown as local time */
	TABLE_DIGEST, /* hex digits, of which people see the first twelve */
};

struct table_column {
	const char *key;   /* of the member in the row */
	const char *title; /* for people; NULL: only in JSON */
	enum table_format format;
};

/* Columns end with one whose key is NULL. */

struct table;

/* Returns NULL when out of memory. `columns` must stay valid. */
struct table *table_new(const struct table_column *columns);
struct table *table_free(struct table *t);
DEFINE_CLEANUP(struct table *, table_free)

/* Adds a row and takes ownership of it, also on failure; NULL (as jansson gives when out of memory)
 * is -ENOMEM. Returns 0 or -ENOMEM. */
int table_add(struct table *t, json_t *row);

/* All rows so far, borrowed. */
json_t *table_rows(const struct table *t);

/* Writes titles and rows, or nothing but the titles. A missing, null or empty value is "-"; control
 * characters, which a terminal would obey, are shown as "?". Returns 0 or -ENOMEM. */
int table_print(const struct table *t, FILE *out);

/* For lists of any length: writes the rows that are there and forgets them, the titles before the
 * first of all. A column that was too narrow so far is wider from there on. */
int table_flush(struct table *t, FILE *out);

/* The same as a JSON array, a line for each row; `last` ends it. */
int table_flush_json(struct table *t, bool last, FILE *out);

/* Writes the first row alone, a "Title: value" line each, for verbs that show one thing. */
int table_print_record(const struct table *t, FILE *out);

/* Writes all rows as a JSON array, or the first row as an object. */
int table_print_json(const struct table *t, FILE *out);
int table_print_json_record(const struct table *t, FILE *out);

/* Writes the text of one member, a line for each row: for --quiet and for scripts. */
void table_print_member(const struct table *t, const char *key, FILE *out);
