/* Growing, NULL-terminated lists of strings, such as argv and environments. */
#pragma once

#include "lib/base.h"

struct strv {
	char **items; /* NULL-terminated once something was added; NULL before */
	size_t count;
	bool failed; /* an addition ran out of memory: check once, at the end */
};

void strv_done(struct strv *v);

/* Adds a copy. */
void strv_add(struct strv *v, const char *text);
void strv_add_format(struct strv *v, const char *format, ...) PRINTF(2, 3);

/* Adds copies of all the arguments up to NULL. */
void strv_add_all(struct strv *v, ...) __attribute__((sentinel));

/* Returns the first "KEY=value" entry's value, or NULL. */
const char *strv_env_get(const struct strv *v, const char *key);

/* Adds "KEY=value", replacing an entry of that key. */
void strv_env_set(struct strv *v, const char *key, const char *value);

static inline const char *const *strv_list(const struct strv *v)
{
	return (const char *const *)v->items;
}
