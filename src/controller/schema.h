/* The tables of the controllers' database, and how those of an older version become these. */
#pragma once

#include "sql/sql.h"

/* The version that this program works with. */
int schema_version(void);

/* Which version the database has. Returns it, 0 for an empty database, -EBADMSG for one with
 * tables of somebody else's, or another negative errno. */
int schema_find(struct sql *db, struct error *err);

/* Makes the tables, or brings older ones up to date, in one transaction: of several controllers
 * that start at once one does it. Returns 0; -EPROTO if they are of a newer version; or negative
 * errno as schema_find(). */
int schema_upgrade(struct sql *db, struct error *err);

/* As above, within the caller's transaction. */
int schema_make(struct sql *db, struct error *err);

/* A version is a text for sql_script() that makes it out of the one before. */
struct schema_steps {
	const char *const *texts;
	int count;
};

/* As schema_upgrade(), to another list of versions: for tests. */
int schema_upgrade_to(struct sql *db, const struct schema_steps *steps, struct error *err);
