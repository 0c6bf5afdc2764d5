/* A request and its answer, without anything of how they travel. Handlers get one, and a
 * connection of the database that fits: of a route that reads, one for reading; of one that writes,
 * one in the middle of a transaction, which is kept if the status is below 400 and undone if not.
 */
#pragma once

#include <jansson.h>

#include "controller/caller.h"
#include "lib/buffer.h"
#include "lib/error.h"
#include "sql/sql.h"

#define EXCHANGE_PARAMS_MAX 3
#define EXCHANGE_PARAM_MAX  256 /* bytes of a path's part, decoded, with NUL */

struct route;
struct controller;
struct edition;

struct exchange {
	struct controller *controller;
	const struct route *route;
	struct caller caller;
	char params[EXCHANGE_PARAMS_MAX][EXCHANGE_PARAM_MAX]; /* of "{...}" in the path, in order */
	json_t *query;                                        /* an object of texts */
	json_t *body;                                         /* parsed; NULL: none */
	const char *if_match;      /* the ETag without quotes; NULL: none, "*" any */
	const char *if_none_match; /* the ETag that the client has already; NULL: none */
	struct {
		const void *data;
		size_t length;
	} upload;        /* a body that is bytes; the request's */
	uint64_t now_us; /* since the epoch, one for the whole request */
	/* The answer: */
	int status;     /* 200, ... */
	json_t *answer; /* owned; NULL: none (204) */
	char etag[64];  /* without quotes; "": none */
	char *text;     /* instead of JSON, owned: /metrics; its type is the route's */
	struct {
		bool is; /* instead of JSON */
		int fd;  /* owned */
		uint64_t size;
	} file; /* that never changes: it may be kept by whoever is between */
	struct {
		void *data; /* instead of JSON, owned; NULL: none */
		size_t length;
	} bytes;
	struct edition *edition; /* behind `text`, but for its first byte, '{'; owned; NULL: none */
	int retry_after_s;       /* 0: none */
	/* Called when the answer has been sent, or will not be; NULL: nothing is to be done. */
	void (*finish)(struct exchange *x);
	int slot; /* of stock.h, for finish() */
};

/* Ends with an error: {"error":"...", "status":n}. Returns `status`, so that a handler writes
 * `return exchange_fail(x, 404, "there is no node '%s'", name);`. The text says what to do. */
int exchange_fail(struct exchange *x, int status, const char *format, ...) PRINTF(3, 4);

/* The status for an errno of the database: -ENOTCONN and -EAGAIN 503 with Retry-After, -EEXIST 409,
 * -ENOSPC 507, else 500 (whose cause is logged, not told). */
int exchange_fail_sql(struct exchange *x, int code, const struct error *err);

/* Ends well: takes `answer` (NULL, as jansson gives when out of memory, is a 500). */
int exchange_answer(struct exchange *x, int status, json_t *answer);

/* Ends well with nothing to say: 204. */
int exchange_answer_nothing(struct exchange *x);

/* Ends well with a file that never changes; takes the descriptor. Its type is the route's. */
int exchange_answer_file(struct exchange *x, int fd, uint64_t size);

/* Ends well with bytes that are nobody else's concern; takes the buffer. Their type is the route's.
 */
int exchange_answer_bytes(struct exchange *x, struct buffer *bytes);

/* Ends well with an object whose first members are `text` ("{...,"), which is taken, and whose
 * others are the edition's, which stays the caller's as well. Returns 200, or -ENOMEM where `text`
 * is NULL.
 */
int exchange_answer_edition(struct exchange *x, char *text, struct edition *e);

/* Ends well: what the client has is what there is (304). x->etag is set. */
int exchange_answer_unchanged(struct exchange *x);

/* The query's text, or NULL. */
const char *exchange_query(const struct exchange *x, const char *name);

/* 0 if If-Match fits the row's revision, else the status 412 (it does not) or 428 (there is none
 * and the route needs it), with the error said. */
int exchange_check_match(struct exchange *x, int64_t revision);

/* Sets the ETag of a row. */
void exchange_set_etag(struct exchange *x, int64_t revision);

/* Reads the body of a request: an object, no name twice, not nested too deeply. An empty one is
 * none. Returns 0, or the status 400 with the error said. */
int exchange_parse_body(struct exchange *x, const void *data, size_t length);

/* Frees all of it. */
void exchange_done(struct exchange *x);
