/* The writer: one thread that changes the database, many requests in one transaction, so that one
 * wait for the disk serves them all. A request is done when its transaction is on the disk. */
#pragma once

#include "sql/sql.h"

struct writer_job {
	/* In the writer's thread, within a transaction; may be called again if the transaction has
	 * failed as a whole, so it changes nothing but the database and its own answer. Returns 0,
	 * or a negative value if its changes are to be undone. */
	int (*work)(struct writer_job *job, struct sql *db);
	/* In the writer's thread: `result` is work()'s, err->code is 0, and the changes are on the
	 * disk; or `result` is the database's negative errno with the reason (-ENOTCONN: it is not
	 * reached) and nothing of it is kept, as far as can be known. */
	void (*done)(struct writer_job *job, int result, const struct error *err);
	struct writer_job *next;
};

struct writer;

/* `url` as sql_open(). Returns 0 or negative errno; a server that does not answer is waited for
 * later. */
int writer_new(const char *url, struct writer **ret, struct error *err);

/* Does what is queued, and ends its thread; what it was is still told. */
void writer_end(struct writer *w);
struct writer *writer_free(struct writer *w);
DEFINE_CLEANUP(struct writer *, writer_free)

/* Returns 0, or -EBUSY if too many wait (WRITER_QUEUE_MAX). */
int writer_add(struct writer *w, struct writer_job *job);

/* For /metrics. */
struct writer_usage {
	uint64_t queued, jobs, transactions, retries;
};
void writer_get_usage(struct writer *w, struct writer_usage *ret);
