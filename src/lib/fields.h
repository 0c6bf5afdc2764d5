/* JSON objects that somebody sends: a table says which members there may be, of which kind and
 * within which bounds, and where in a struct they go. The same table describes them as a JSON
 * Schema, so that what is checked and what is published cannot disagree. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

enum field_type {
	FIELD_TEXT,   /* char[max]: printable, one line, of 1 to max - 1 bytes */
	FIELD_DIGEST, /* char[65]: SHA-256 in lower-case hex */
	FIELD_ID,     /* char[37]: a UUID */
	FIELD_WORD,   /* char[max]: one of `words`, "a|b|c" */
	FIELD_NUMBER, /* uint64_t: within min and max */
	FIELD_BOOL,   /* bool */
	FIELD_NOT,    /* bool, of the opposite */
	FIELD_TIME,   /* uint64_t: us since the epoch, written as RFC 3339 */
	FIELD_OBJECT, /* json_t *, borrowed from the object that is parsed; not looked into */
	FIELD_LIST,   /* the same for an array, of at most `max` items */
	FIELD_LINES,  /* const char *, borrowed: text of at most `max` bytes; it may have several
		       * lines  and tabs, no other control characters, and may be empty */
};

struct field {
	const char *name;
	enum field_type type;
	size_t offset;
	uint64_t min, max; /* of a list and lines, a max of 0 is no limit */
	bool required;
	const char *words; /* of FIELD_WORD */
	const char *help;  /* a sentence for the published schema; may be NULL */
	/* What else a text must be; NULL: nothing. Returns 0 or -EINVAL. */
	int (*check)(const char *text, struct error *err);
	size_t given; /* where a bool is set if the member is there; 0: nowhere */
};

/* Tables end with a row whose name is NULL. */

/* Fills the zeroed struct `ret`. Members that no row knows are ignored, so that newer senders are
 * served; null is as if the member were not there. A text that is not required may be "". Returns 0
 * or -EINVAL with what is wrong. */
int fields_parse(const struct field *table, json_t *object, void *ret, struct error *err);

/* One member alone, whatever `required` says; null is no value of any type. */
int field_parse(const struct field *row, json_t *value, void *ret, struct error *err);

/* A new JSON Schema of the object, or NULL when out of memory. */
json_t *fields_to_schema(const struct field *table);
