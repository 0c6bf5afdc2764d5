/* Connections of the database for reading: each thread has its own, which ends with it. */
#pragma once

#include "sql/sql.h"

/* The thread's connection, opened anew where it was lost: at most once a second, so that requests
 * do not wait behind each other for a server that does not answer. Returns 0, or negative errno
 * with *ret NULL. */
int reader_get(const char *url, struct sql **ret, struct error *err);

/* Around the statements of one request. In SQLite each would take and leave the file's locks for
 * itself, which is a third of its system calls, and see a later state than the one before. In
 * PostgreSQL it would be a way there and back more. */
void reader_begin(struct sql *db);
void reader_end(struct sql *db);
