/* Usage records from a file that grows, some at a time, each with the place where it ends. What is
 * no record, a line that was cut off or is too long, is passed over. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

#define BATCH_MAX   100
#define BATCH_BYTES (512 * 1024)

struct batch {
	json_t *records;          /* an array */
	uint64_t ends[BATCH_MAX]; /* of each: where the next one begins */
	uint64_t end;             /* where the next batch begins */
	uint64_t damaged;         /* lines */
};

/* Reads from `offset` on; none left: an empty list, and `end` as it was but for what is passed
 * over. With `closed` nobody writes to the file any more, and a line without an end is no record.
 * Returns 0 or negative errno. */
int batch_read(int fd, uint64_t offset, bool closed, struct batch *ret, struct error *err);
void batch_done(struct batch *b);
