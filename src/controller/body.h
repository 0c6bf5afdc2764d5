/* What a request brings. */
#pragma once

#include "controller/route.h"

/* The body as its route's table has it, into the zeroed struct `ret`. Returns 0, or the status 400
 * with the error said. */
int body_parse(struct exchange *x, void *ret);

/* A name of a person's choice that comes into paths and files: 1 to 63 of a-z, 0-9, '.', '_' and
 * '-', the first a letter or digit. Returns 0, or 400 with the error said ("the pool's name ...").
 */
#define BODY_NAME_MAX 64
int body_check_name(struct exchange *x, const char *noun, const char *name);

/* Is it text without control characters, of 1 to `max` bytes? */
bool body_is_line(const char *text, size_t max);
