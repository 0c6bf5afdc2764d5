/* The prepared statements of a connection: found by the address of their text and the types of
 * their values. */
#pragma once

#include "sql/sql.h"

struct sql_prepared {
	const char *text;
	uint64_t types;  /* as sql_cache_types() */
	void *statement; /* the back end's */
};

struct sql_cache {
	struct sql_prepared *slots;
	size_t size, count; /* size: a power of two, or 0 */
};

/* Two bits for each of the first 32 values. */
uint64_t sql_cache_types(const struct sql_value *values, size_t count);

/* Returns its entry, with the statement NULL if it is new; or NULL when out of memory. Valid until
 * the next call. */
struct sql_prepared *sql_cache_get(struct sql_cache *c, const char *text, uint64_t types);

void sql_cache_done(struct sql_cache *c);
