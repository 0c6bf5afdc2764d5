/* From one database to another: how a site that began with SQLite gets PostgreSQL. */
#pragma once

#include "lib/error.h"

/* Told after each some hundred rows, and at a table's end. */
typedef void (*migrate_progress_fn)(const char *table, int64_t rows, void *userdata);

/* Copies all that is in the database `from` into `to`, in one transaction, and counts it there; the
 * tables are made if there are none. Nobody can write to `from` meanwhile, and it stays as it is.
 * Both are as sql_open() has them. Returns 0; -EPROTO if one is not of this program's version;
 * -ENOTEMPTY if there is something in `to`; -ENOENT if there is nothing in `from`; or another
 * negative errno. In any case but 0 `to` is as it was. `progress` may be NULL. */
int migrate_run(const char *from, const char *to, migrate_progress_fn progress, void *userdata,
	struct error *err);
