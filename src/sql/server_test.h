/* Databases for tests: each gets an empty one of the kind that it is about, and a PostgreSQL server
 * of the test's own, if this machine has one. */
#pragma once

#include "sql/sql.h"

/* Rows for cmocka, of tests that are done with SQLite, with PostgreSQL, or with both alike. Their
 * state is the kind. */
#define SERVER_TEST_ON(kind, f)                                                                 \
	{                                                                                       \
#f " (" #kind ")", f, server_test_setup, server_test_teardown, &(enum sql_kind) \
		{                                                                               \
			kind                                                                    \
		}                                                                               \
	}
#define SERVER_TEST(f) SERVER_TEST_ON(SQL_SQLITE, f), SERVER_TEST_ON(SQL_POSTGRES, f)

/* For cmocka: of the group, and of each test, which begins with server_test_url(). */
int server_test_up(void **state);
int server_test_down(void **state);
int server_test_setup(void **state);
int server_test_teardown(void **state);

/* The URL of an empty database of the test's kind. Skips the test where there is no server. */
const char *server_test_url(void **state);

/* A directory of this test's. */
const char *server_test_directory(void);

/* Ends the server as a power cut does, and starts it again. */
void server_test_kill(void);
void server_test_start(void);

/* A connection; one that cannot be had fails the test. */
struct sql *server_test_open(const char *url);

/* The first column of the first row, by a connection of its own. */
int64_t server_test_number(const char *url, const char *text);

/* As much of `url`'s directory as a disk of this size; false if this needs rights that are missing.
 */
bool server_test_limit(unsigned int kib);
