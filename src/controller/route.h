/* What can be asked: one table gives dispatch, rights, checks of the query and the OpenAPI
 * document. */
#pragma once

#include "controller/exchange.h"
#include "controller/listing.h"
#include "lib/fields.h"

enum route_kind {
	ROUTE_PLAIN,  /* also when the database is not reached: run() gets NULL then */
	ROUTE_READ,   /* in the thread of the connection, with a connection for reading */
	ROUTE_WRITE,  /* in the writer's thread, many in one transaction */
	ROUTE_STREAM, /* server-sent events: does not end */
	ROUTE_WORK,   /* in the worker's thread, without a database: takes its time with files */
};

struct route_query {
	const char *name, *help;
	enum { QUERY_TEXT, QUERY_NUMBER, QUERY_TIME, QUERY_BOOL } type;
};

struct route {
	const char *method; /* "GET", "POST", "PUT", "PATCH", "DELETE" */
	const char *path;   /* "/v1/nodes/{name}" */
	enum route_kind kind;
	unsigned int roles; /* of which one is needed; ROLE_... */
	const char *summary;
	const struct field *body; /* NULL: none is taken, or bytes */
	uint64_t upload_max;      /* bytes that are taken as they are, at most; 0: none are */
	const struct route_query *queries; /* beside those of the listing; end with a NULL name */
	const struct listing *listing;     /* what is answered: the rows of one, or one of them */
	bool one;                /* one row of the listing, whose key is the last parameter */
	bool matches;            /* needs If-Match */
	const char *answer_type; /* "text/plain; version=0.0.4"; NULL: application/json */
	/* A node's certificate is enough where the database is not reached and nothing is known of
	 * its having been revoked. */
	bool by_certificate;
	bool (*is_open)(const struct controller *c); /* is it for everybody here? NULL: no */
	/* Before run() of a route that writes, in the worker's thread; NULL: nothing is to be done.
	 * Returns 0, or the status with the error said. */
	int (*prepare)(struct exchange *x);
	/* Returns the status; x->answer and so on are set. NULL with a listing: listing_run(). */
	int (*run)(struct exchange *x, struct sql *db);
};

/* Tables of routes end with a row whose method is NULL. Each noun has one; routes.c has the list of
 * the tables, which ends with NULL. */
extern const struct route *const route_tables[];

#define ROUTE_ALLOW_MAX 64

/* Finds the route of a request, and fills x->route and x->params. `path` is as it was sent, up to
 * the '?'. HEAD is as GET. Returns 0, or the status 400, 404 or 405 with the error said (405:
 * *ret_allow is the value for the header Allow, valid until the thread's next call). */
int route_find(struct exchange *x, const char *method, const char *path, const char **ret_allow);

/* May the caller? Returns 0, or 401 or 403 with the error said. */
int route_check_caller(struct exchange *x);

/* Is the query one that the route knows? Returns 0, or the status 400 with the error said. */
int route_check_query(struct exchange *x);
