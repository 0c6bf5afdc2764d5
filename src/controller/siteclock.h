/* The time by which the controllers of a site go: their database server's. By its own clock, one
 * that is wrong would lose nodes that others hear. */
#pragma once

#include "sql/sql.h"

/* Microseconds since the epoch. Any thread. */
uint64_t siteclock_now_us(void);

/* Asks the database's server for its time; of SQLite the clock is our own. Returns 0 or negative
 * errno. */
int siteclock_set(struct sql *db, struct error *err);

/* What is to be added to our own time: 0 as long as the two differ by less than a request may take
 * on its way. */
int64_t siteclock_difference(uint64_t own_us, uint64_t server_us);
