/* Members of the JSON objects of image lists: a table says which there are and where in a struct
 * they go. Apart from lib/fields, because these come from many programs: numbers may be texts and
 * texts numbers, and texts are as long as their authors like. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

enum member_kind {
	MEMBER_LINE,   /* char *: one line, not empty; control characters become '?' or blanks */
	MEMBER_TEXT,   /* char *: any lines, may be empty */
	MEMBER_NAME,   /* char *: letters, digits and . _ : - that may be part of a file's name */
	MEMBER_URI,    /* char *: printable ASCII without blanks */
	MEMBER_SHA512, /* char *: 128 hex digits, made lower-case */
	MEMBER_NUMBER, /* uint64_t, from 1 to the row's max */
	MEMBER_TIME,   /* uint64_t: us since the epoch, of "2026-11-21T17:51:00Z" */
};

struct member {
	const char *key;
	enum member_kind kind;
	size_t offset;
	uint64_t max; /* bytes of a text without its NUL, or the largest number */
	bool required;
};

/* Tables end with a row whose key is NULL. */

/* Fills the zeroed struct `ret`, whose texts are members_done()'s to free, also after a failure.
 * Keys that no row knows are ignored; an empty or null member is one that is not there. Returns 0,
 * -EINVAL with what is missing or wrong, or -ENOMEM. */
int members_parse(const struct member *table, const json_t *object, void *ret, struct error *err);

/* A new object of all members that are set, in the table's order; NULL when out of memory. */
json_t *members_format(const struct member *table, const void *members);

void members_done(const struct member *table, void *members);
