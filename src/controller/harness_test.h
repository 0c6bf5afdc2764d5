/* Requests without a network, for tests of the nouns: each goes through the table of routes, as
 * the caller that a test names, and into a database of its own, in a transaction if it writes. The
 * tests of a program run on each database that there is: SQLite always, PostgreSQL if its server is
 * installed. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "controller/exchange.h"
#include "sql/server_test.h"

/* Behind ours: its fail() is a macro. */
#include <cmocka.h>

/* Rows for cmocka: each test is done with SQLite and with PostgreSQL, and begins with
 * harness_open(), which makes an empty database. HARNESS_RUN() runs them. */
#define HARNESS_TEST_ON(kind, f)                                                        \
	{                                                                               \
#f " (" #kind ")", f, harness_setup, harness_teardown, &(enum sql_kind) \
		{                                                                       \
			kind                                                            \
		}                                                                       \
	}
#define HARNESS_TEST(f)    HARNESS_TEST_ON(SQL_SQLITE, f), HARNESS_TEST_ON(SQL_POSTGRES, f)
#define HARNESS_RUN(tests) cmocka_run_group_tests(tests, server_test_up, server_test_down)

void harness_open(void **state);
int harness_setup(void **state);
int harness_teardown(void **state);

/* The connection, for what a test looks at by itself, and the time of the next request. */
extern struct sql *harness_db;
extern uint64_t harness_now_us;

/* Who asks: "root" is an administrator, "node:wn1" a node, "admin:alice:GROUP" administers a host
 * group, "endorser:eve" endorses images, "nobody" has shown nothing, all others are users. */

/* Asks, as `who`, "METHOD /path?query", with a body as of json_pack(), which is taken. What is
 * answered is kept until the next request. Returns the status. */
int harness_ask(const char *who, const char *request, json_t *body);
/* The same with If-Match. */
int harness_ask_match(const char *who, const char *request, const char *etag, json_t *body);

/* The same with bytes instead of JSON. */
int harness_send(const char *who, const char *request, const void *data, size_t length);

/* What requests are asked of, for a test that gives it more. */
extern struct controller harness_controller;

/* Of the last answer: all of it, its "error" ("" for none), a member of it (a path, "a.0.b"), and
 * its ETag. */
json_t *harness_answer(void);
const char *harness_error(void);
json_t *harness_get(const char *path);
const char *harness_text(const char *path);
int64_t harness_number(const char *path);
const char *harness_etag(void);

/* The bytes of the last answer; NULL: it has none. */
const void *harness_bytes(size_t *ret_length);

/* The first column of a statement's first row; fails the test if there is none. */
int64_t harness_count(const char *sql);

/* A row of the table of nodes, as if it had joined. */
void harness_add_node(const char *name, const char *group);

/* Text as JSON, with ' for ". */
json_t *harness_json(const char *text);
