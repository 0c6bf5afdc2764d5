/* One scheme for errors: functions return 0 (or a count) or a negative errno; where a person must
 * read why, the last parameter is a caller's `struct error`, filled by fail().
 *
 * A message has three parts: what failed, why, and what to do about it where there is something.
 */
#pragma once

#include "lib/base.h"

#define ERROR_TEXT_MAX 1024 /* a sentence or two, plus a path of ordinary length */

struct error {
	int code; /* negative errno of the first failure, 0 if none */
	char text[ERROR_TEXT_MAX];
};

/* Writes the message to `err` (may be NULL) and returns `code`, so that callers can write
 * `return fail(err, -EINVAL, "disk '%s': not qcow2", path);`. A later call replaces the text. */
int fail(struct error *err, int code, const char *format, ...) PRINTF(3, 4);

/* As fail(), with ": <text of code>" added, e.g. "cannot open '/x': No such file or directory". */
int fail_errno(struct error *err, int code, const char *format, ...) PRINTF(3, 4);

/* Puts a context before the text already in `err`: "context: text". Returns err->code. */
int fail_within(struct error *err, const char *format, ...) PRINTF(2, 3);
