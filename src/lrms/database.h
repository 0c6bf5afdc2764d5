/* The queue's database: one SQLite file in a directory of the user's own.
 *
 * Every change is one statement that is its own transaction, and is on the disk when the call
 * returns (WAL with synchronous=FULL). Many processes have the file open at once.
 */
#pragma once

#include <sqlite3.h>

#include "lib/error.h"

struct database;

/* Opens "queue.db" in `directory`, which is made if need be, and makes the tables. Returns 0;
 * -EPERM for a directory that others may write to or own; -EBADMSG for a file that is damaged or
 * another program's; -EPROTO for one of a newer WNoDeS; or another negative errno. */
int database_open(const char *directory, struct database **ret, struct error *err);
struct database *database_free(struct database *db);
DEFINE_CLEANUP(struct database *, database_free)

/* A statement being run: database_prepare(), values, then database_step() until it returns 0. It is
 * finalised with its scope: `sqlite3_stmt *s AUTO(database_finalize) = NULL`. `sql` must be a text
 * constant. Returns 0 or negative errno. */
int database_prepare(struct database *db, const char *sql, sqlite3_stmt **ret, struct error *err);
void database_finalize(sqlite3_stmt **statement);

/* Values, for parameters counted from 1; NULL texts become NULL. They must stay valid until the
 * statement is stepped. A failure is told by the step. */
void database_bind_text(sqlite3_stmt *statement, int index, const char *text);

/* Returns 1 with a row, 0 at the end, or negative errno; `what` is for the message: "add the job".
 */
int database_step(
	struct database *db, sqlite3_stmt *statement, const char *what, struct error *err);

/* Steps a statement that gives no rows. Returns how many rows it changed, or negative errno. */
int database_change(
	struct database *db, sqlite3_stmt *statement, const char *what, struct error *err);

int64_t database_last_id(const struct database *db);
