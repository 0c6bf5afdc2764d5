#include "controller/schema.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include "controller/schema_1.h"
#include "sql/server_test.h"

#include <cmocka.h>

static struct error err;

static void good(int r)
{
	if (r < 0)
		fail_msg("%s", err.text);
}

/* A version to come: it changes what is there, adds a table, and takes a while. */
#define NEXT                                                                               \
	"ALTER TABLE hostgroup ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';\n"           \
	"UPDATE hostgroup SET description = description || '!';\n"                         \
	"CREATE TABLE rack (name TEXT PRIMARY KEY, number BIGINT NOT NULL);\n"             \
	"INSERT INTO rack (name, number)"                                                  \
	" WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)" \
	" SELECT 'rack-' || i, i FROM n;\n"                                                \
	"CREATE INDEX rack_number ON rack (number);\n"

static const char *const texts[] = {
	SCHEMA_1,
	NEXT,
	"DROP TABLE rack;\nSELECT this fails;\n",
};
static const struct schema_steps first = {texts, 1}, second = {texts, 2}, third = {texts, 3};

static const char *make_first(void **state)
{
	const char *url = server_test_url(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);

	good(schema_upgrade_to(db, &first, &err));
	for (int i = 0; i < 100; i++)
		good(sql_change(db, &err,
			"INSERT INTO hostgroup (name, description, revision) VALUES (?1, 'of', ?2)",
			sql_text((char[]){(char)('0' + i / 10), (char)('0' + i % 10), 0}),
			sql_number(i)));
	return url;
}

static void an_empty_database_gets_the_tables(void **state)
{
	const char *url = server_test_url(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);

	assert_int_equal(schema_find(db, &err), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(schema_upgrade(db, &err), 0);
		assert_int_equal(schema_find(db, &err), schema_version());
	}
	assert_int_equal(sql_count_tables(db, "node", &err), 1);
}

static void rows_stay_when_tables_are_upgraded(void **state)
{
	const char *url = make_first(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);

	assert_int_equal(schema_find(db, &err), 1);
	good(schema_upgrade_to(db, &second, &err));
	assert_int_equal(schema_find(db, &err), 2);
	assert_int_equal(
		server_test_number(url,
			"SELECT count(*) FROM hostgroup WHERE description = 'of!' AND colour = 'red'"),
		100);
	assert_int_equal(server_test_number(url, "SELECT sum(revision) FROM hostgroup"), 4950);
	good(schema_upgrade_to(db, &second, &err));
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM rack"), 60000);
}

/* What a site has had before there were images. */
static void version_1_becomes_that_of_today(void **state)
{
	const char *url = make_first(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);

	good(schema_upgrade(db, &err));
	assert_int_equal(schema_find(db, &err), schema_version());
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM hostgroup"), 100);
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM image_history"), 0);
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM attachment"), 0);
	good(schema_upgrade(db, &err));
}

static void an_upgrade_that_fails_changes_nothing(void **state)
{
	const char *url = make_first(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);

	assert_int_equal(schema_upgrade_to(db, &third, &err), -EIO);
	assert_non_null(strstr(err.text, "version 3"));
	assert_int_equal(schema_find(db, &err), 1);
	assert_int_equal(sql_count_tables(db, "rack", &err), 0);
	good(schema_upgrade_to(db, &second, &err));
}

static void a_newer_version_is_refused(void **state)
{
	const char *url = make_first(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);

	good(schema_upgrade_to(db, &second, &err));
	assert_int_equal(schema_upgrade_to(db, &first, &err), -EPROTO);
	assert_non_null(strstr(err.text, "version 2"));
	assert_int_equal(schema_find(db, &err), 2);
}

static void tables_of_another_program_are_not_touched(void **state)
{
	const char *url = server_test_url(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);

	good(sql_change_once(db, &err, "CREATE TABLE song (name TEXT)", NULL, 0));
	assert_int_equal(schema_upgrade(db, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "name an empty database"));
	good(sql_change_once(db, &err, "CREATE TABLE site (name TEXT, value TEXT)", NULL, 0));
	assert_int_equal(schema_upgrade(db, &err), -EBADMSG);
	assert_int_equal(sql_count_tables(db, NULL, &err), 2);
}

static pid_t start_upgrade(const char *url, const struct schema_steps *steps)
{
	struct sql *db = NULL;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (sql_open(url, &db, &err) < 0 || schema_upgrade_to(db, steps, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		_exit(1);
	}
	_exit(0);
}

static void several_may_begin_at_once(void **state)
{
	const char *url = server_test_url(state);
	pid_t pids[6];
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = start_upgrade(url, &second);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM rack"), 60000);
}

/* At any moment: the tables are of one version, whole, and can be upgraded. */
/* A server goes on for a moment with what the killed one has sent last. */
static void wait_for_the_killed(struct sql *db, const char *url)
{
	int64_t others = str_after(url, "postgresql:") ? 1 : 0;

	for (int i = 0; i < 1000 && others > 0; i++) {
		if (sql_get_number_values(db, &err, &others,
			    "SELECT count(*) FROM pg_stat_activity WHERE datname ="
			    " current_database() AND pid <> pg_backend_pid()",
			    NULL, 0) < 0)
			fail_msg("%s", err.text);
		usleep(10000);
	}
	assert_int_equal(others, 0);
}

static void a_killed_upgrade_leaves_the_version_before(void **state)
{
	const char *url = make_first(state);
	int killed = 0, status;

	for (int i = 0; i < 12; i++) {
		struct sql *db AUTO(sql_freep) = NULL;
		pid_t pid = start_upgrade(url, &second);

		usleep((useconds_t)(5000 + 15000 * i));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		db = server_test_open(url);
		wait_for_the_killed(db, url);
		if (schema_find(db, &err) == 2)
			break;
		killed++;
		assert_int_equal(schema_find(db, &err), 1);
		assert_int_equal(sql_count_tables(db, "rack", &err), 0);
		assert_int_equal(server_test_number(url,
					 "SELECT count(*) FROM hostgroup WHERE description = 'of'"),
			100);
	}
	assert_true(killed > 0);
	assert_int_equal(waitpid(start_upgrade(url, &second), &status, 0) > 0, 1);
	assert_int_equal(status, 0);
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM rack"), 60000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(an_empty_database_gets_the_tables),
		SERVER_TEST(rows_stay_when_tables_are_upgraded),
		SERVER_TEST(version_1_becomes_that_of_today),
		SERVER_TEST(an_upgrade_that_fails_changes_nothing),
		SERVER_TEST(a_newer_version_is_refused),
		SERVER_TEST(tables_of_another_program_are_not_touched),
		SERVER_TEST(several_may_begin_at_once),
		SERVER_TEST(a_killed_upgrade_leaves_the_version_before),
	};

	return cmocka_run_group_tests(tests, server_test_up, server_test_down);
}
