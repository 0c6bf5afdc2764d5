/* How a staging goes on: so many nodes fetch at a time, the next begin as those end. */
#pragma once

#include "controller/exchange.h"

/* As many nodes begin as may; if none is left, it is done. In a write transaction. Returns 0 or
 * negative errno. */
int staging_advance(struct sql *db, const char *id, uint64_t now_us, struct error *err);

/* Ends it where it is. Returns 0 or negative errno. */
int staging_cancel(struct exchange *x, struct sql *db, const char *id, struct error *err);
