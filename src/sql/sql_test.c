#include "sql/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/file.h"
#include "sql/server_test.h"

#include <cmocka.h>

static struct error err;

#define good(r) check(r, #r)
static void check(int r, const char *what)
{
	if (r < 0)
		fail_msg("%s: %s", what, err.text);
}

#define TABLE \
	"CREATE TABLE thing (name TEXT PRIMARY KEY, size BIGINT, note TEXT, CHECK (size < 1000))"
#define ADD "INSERT INTO thing (name, size, note) VALUES (?1, ?2, ?3)"

static struct sql *open_table(void **state, const char **ret_url)
{
	const char *url = server_test_url(state);
	struct sql *db = server_test_open(url);

	good(sql_begin(db, &err));
	good(sql_script(db, TABLE ";\nCREATE INDEX thing_size ON thing (size);\n", &err));
	good(sql_commit(db, &err));
	if (ret_url)
		*ret_url = url;
	return db;
}

static int add(struct sql *db, const char *name, int64_t size)
{
	return sql_change(db, &err, ADD, sql_text(name), sql_number(size), sql_text(NULL));
}

static int64_t count(struct sql *db)
{
	int64_t n = -1;

	good(sql_get_number(db, &err, &n, "SELECT count(*) FROM thing"));
	return n;
}

static void values_come_back_as_they_went(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	const char *text = "it's \"ten\" ?1 \xc3\xa4\n";

	assert_int_equal(
		sql_change(db, &err, ADD, sql_text(text), sql_number(INT64_MIN), sql_text("")), 1);
	assert_int_equal(sql_change(db, &err, ADD, sql_text("b"), sql_null(), sql_text(NULL)), 1);
	good(sql_select(db, &err, &rows,
		"SELECT name, size, note, size IS NULL FROM thing WHERE name <> '?9' ORDER BY name"));
	assert_int_equal(sql_rows_count(rows), 4);
	assert_string_equal(sql_rows_name(rows, 1), "size");
	assert_int_equal(sql_rows_next(rows, &err), 1);
	assert_string_equal(sql_rows_text(rows, 0), "b");
	assert_true(sql_rows_is_null(rows, 1) && sql_rows_number(rows, 1) == 0);
	assert_null(sql_rows_text(rows, 2));
	assert_int_equal(sql_rows_number(rows, 3), 1);
	assert_int_equal(sql_rows_next(rows, &err), 1);
	assert_string_equal(sql_rows_text(rows, 0), text);
	assert_true(sql_rows_number(rows, 1) == INT64_MIN && sql_rows_is_number(rows, 1));
	assert_string_equal(sql_rows_text(rows, 2), "");
	assert_int_equal(sql_rows_number(rows, 3), 0);
	assert_int_equal(sql_rows_next(rows, &err), 0);
}

static void a_statement_may_be_asked_with_and_without_a_value(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);
	static const char text[] = "SELECT count(*) FROM thing WHERE ?1 IS NULL OR name = ?1";
	static const char more[] = "SELECT count(*) FROM thing WHERE size + ?1 > 5000000000";
	int64_t n;

	good(add(db, "a", 1));
	good(add(db, "b", 2));
	for (int i = 0; i < 10; i++) {
		good(sql_get_number(db, &err, &n, text, sql_text(NULL)));
		assert_int_equal(n, 2);
		good(sql_get_number(db, &err, &n, text, sql_text("a")));
		assert_int_equal(n, 1);
		good(sql_get_number(db, &err, &n, more, sql_null()));
		assert_int_equal(n, 0);
		good(sql_get_number(db, &err, &n, more, sql_number(INT64_C(5000000000))));
		assert_int_equal(n, 2);
	}
	assert_int_equal(
		sql_get_number(db, &err, &n, "SELECT size FROM thing WHERE name = 'c'"), 0);
}

static void texts_are_ordered_by_their_bytes(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	static const char *const sorted[] = {"B", "a", "a-1", "a1", "b", "\xc3\xa4"};

	for (size_t i = ARRAY_SIZE(sorted); i-- > 0;)
		good(add(db, sorted[i], 1));
	good(sql_select(db, &err, &rows, "SELECT name FROM thing WHERE name > ?1 ORDER BY name",
		sql_text("A")));
	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		assert_int_equal(sql_rows_next(rows, &err), 1);
		assert_string_equal(sql_rows_text(rows, 0), sorted[i]);
	}
	assert_int_equal(sql_rows_next(rows, &err), 0);
	rows = sql_rows_free(rows);
	good(sql_select(db, &err, &rows, "SELECT name FROM thing WHERE name LIKE 'A%'"));
	assert_int_equal(sql_rows_next(rows, &err), 0);
}

static void failures_have_the_same_numbers(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);

	good(add(db, "a", 1));
	assert_int_equal(add(db, "a", 2), -EEXIST);
	assert_int_equal(add(db, "b", 1000), -EINVAL);
	assert_int_equal(sql_change(db, &err, ADD, sql_text(NULL), sql_number(1), sql_text("")),
		sql_kind(db) == SQL_SQLITE ? 1 : -EINVAL); /* PRIMARY KEY there is not NOT NULL */
	assert_int_equal(sql_change(db, &err, "UPDATE thing SET size = 3 WHERE name = 'a'"), 1);
	assert_int_equal(sql_change(db, &err, "UPDATE thing SET size = 3 WHERE name = 'x'"), 0);
	assert_int_equal(sql_change(db, &err, "DELETE FROM nothing"), -EIO);
	assert_int_equal(sql_change(db, &err,
				 "INSERT INTO thing (name) VALUES ('a') ON CONFLICT DO NOTHING"),
		0);
	assert_false(sql_is_broken(db));
}

static void a_transaction_that_failed_takes_nothing_more(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);
	int64_t n;

	good(sql_begin(db, &err));
	good(add(db, "a", 1));
	assert_int_equal(sql_failure(db, &err), 0);
	assert_int_equal(add(db, "a", 1), -EEXIST);
	assert_int_equal(sql_failure(db, &err), -EEXIST);
	assert_int_equal(add(db, "b", 1), -EEXIST);
	assert_int_equal(sql_get_number(db, &err, &n, "SELECT 1"), -EEXIST);
	assert_int_equal(sql_commit(db, &err), -EEXIST);
	assert_int_equal(count(db), 0);
	good(add(db, "b", 1));
	assert_int_equal(count(db), 1);
}

static void what_is_undone_is_gone_and_the_rest_is_kept(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);

	good(sql_begin(db, &err));
	for (int i = 0; i < 9; i++) {
		char name[8];

		snprintf(name, sizeof(name), "%d", i / 3);
		good(sql_savepoint(db, &err));
		if (add(db, name, i) == -EEXIST)
			assert_int_equal(i % 3 > 0, 1);
		if (i == 3 || sql_failure(db, &err) < 0)
			good(sql_undo(db, &err));
		else
			good(sql_release(db, &err));
		/* One that does nothing. */
		good(sql_savepoint(db, &err));
		good(i % 2 ? sql_release(db, &err) : sql_undo(db, &err));
	}
	good(sql_commit(db, &err));
	assert_int_equal(count(db), 3);
	good(sql_begin(db, &err));
	good(add(db, "later", 1));
	sql_rollback(db);
	assert_int_equal(count(db), 3);
}

static int add_later(struct sql *db, const char *name)
{
	return sql_change_later(
		db, &err, "INSERT INTO thing (name, size) VALUES (?1, 5)", sql_text(name));
}

static void what_is_not_waited_for_is_done_in_its_order(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);
	int64_t n;

	good(add_later(db, "alone"));
	good(sql_begin(db, &err));
	for (int i = 0; i < 5; i++) {
		char name[8];

		good(sql_savepoint(db, &err));
		snprintf(name, sizeof(name), "a%d", i);
		good(add_later(db, name));
		if (i == 2) {
			good(sql_get_number(db, &err, &n, "SELECT count(*) FROM thing"));
			assert_int_equal(n, 4); /* without those of 1, which were undone */
		}
		name[0] = 'b';
		good(add_later(db, name));
		good(i == 1 ? sql_undo(db, &err) : sql_release(db, &err));
	}
	good(sql_commit(db, &err));
	assert_int_equal(count(db), 9);
	good(sql_begin(db, &err));
	good(add_later(db, "c"));
	sql_rollback(db);
	assert_int_equal(count(db), 9);
}

/* Where nobody has waited for it, it is not known whose changes an undoing would undo. */
static void what_fails_unwaited_for_fails_the_transaction(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);

	good(sql_begin(db, &err));
	good(sql_savepoint(db, &err));
	good(add(db, "first", 1));
	good(sql_release(db, &err));
	good(sql_savepoint(db, &err));
	good(add_later(db, "first"));
	good(sql_release(db, &err));
	good(sql_savepoint(db, &err));
	assert_int_equal(add(db, "second", 1), -EEXIST);
	assert_int_equal(sql_undo(db, &err), -EEXIST);
	assert_int_equal(sql_commit(db, &err), -EEXIST);
	assert_int_equal(count(db), 0);
	/* And at the end. */
	good(sql_begin(db, &err));
	good(add(db, "first", 1));
	good(add_later(db, "first"));
	assert_int_equal(sql_commit(db, &err), -EEXIST);
	assert_int_equal(count(db), 0);
	assert_false(sql_is_broken(db));
}

static void rows_may_be_left_unread(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);
	int64_t n;

	good(sql_begin(db, &err));
	for (int i = 0; i < 3; i++) {
		char name[8];

		snprintf(name, sizeof(name), "%d", i);
		good(sql_get_number(db, &err, &n,
			"INSERT INTO thing (name, size) VALUES (?1, ?2), ('x' || ?1, 7) RETURNING size",
			sql_text(name), sql_number(i)));
		assert_int_equal(n, i);
	}
	good(sql_commit(db, &err));
	assert_int_equal(count(db), 6);
	/* Without a transaction, too. */
	good(sql_get_number(db, &err, &n,
		"INSERT INTO thing (name, size) VALUES ('y', 1), ('z', 2) RETURNING size"));
	assert_int_equal(count(db), 8);
}

/* Of those who may write, there is one. */
static void one_writes_at_a_time(void **state)
{
	const char *url;
	struct sql *db AUTO(sql_freep) = open_table(state, &url);
	enum { WRITERS = 4, ROUNDS = 25 };
	pid_t pids[WRITERS];

	good(add(db, "sum", 0));
	for (int i = 0; i < WRITERS; i++) {
		pids[i] = fork();
		for (int n = 0; pids[i] == 0 && n < ROUNDS; n++) {
			struct sql *own AUTO(sql_freep) = server_test_open(url);
			int64_t size = 0;

			if (sql_begin(own, &err) < 0 ||
				sql_get_number(own, &err, &size,
					"SELECT size FROM thing WHERE name = 'sum'") != 1 ||
				sql_change(own, &err, "UPDATE thing SET size = ?1",
					sql_number(size + 1)) != 1 ||
				sql_commit(own, &err) < 0)
				_exit(1);
		}
		if (pids[i] == 0)
			_exit(0);
	}
	for (int i = 0; i < WRITERS; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(server_test_number(url, "SELECT size FROM thing"), WRITERS * ROUNDS);
}

/* Reading does not wait for who writes, and does not see what is not done. */
static void readers_do_not_wait(void **state)
{
	const char *url;
	struct sql *db AUTO(sql_freep) = open_table(state, &url);
	struct sql *reader AUTO(sql_freep) = server_test_open(url);

	good(sql_begin(db, &err));
	good(add(db, "a", 1));
	assert_int_equal(count(reader), 0);
	good(sql_commit(db, &err));
	assert_int_equal(count(reader), 1);
}

static void tables_are_counted(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);

	assert_int_equal(sql_count_tables(db, NULL, &err), 1);
	assert_int_equal(sql_count_tables(db, "thing", &err), 1);
	assert_int_equal(sql_count_tables(db, "other", &err), 0);
}

static void many_statements_are_kept(void **state)
{
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);
	static char texts[300][32];
	int64_t n;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(texts); i++) {
		char *text = texts[i % ARRAY_SIZE(texts)];

		snprintf(text, sizeof(texts[0]), "SELECT %zu", i % ARRAY_SIZE(texts));
		good(sql_get_number(db, &err, &n, text));
		assert_int_equal(n, i % ARRAY_SIZE(texts));
	}
}

/* A controller whose machine is gone must not keep the others from writing. (With SQLite it is a
 * process of this machine, whose locks go with it.) */
static void a_writer_that_sleeps_loses_its_turn(void **state)
{
	const char *url;
	struct sql *db AUTO(sql_freep) = open_table(state, &url);
	struct sql *other AUTO(sql_freep) = NULL;

	good(sql_change_once(db, &err, "SET idle_in_transaction_session_timeout = 300", NULL, 0));
	good(sql_begin(db, &err));
	good(add(db, "a", 1));
	other = server_test_open(url);
	good(sql_begin(other, &err));
	good(sql_commit(other, &err));
	assert_int_equal(add(db, "b", 1), -ENOTCONN);
	assert_true(sql_is_broken(db));
	assert_int_equal(sql_commit(db, &err), -ENOTCONN);
	assert_int_equal(count(other), 0);
}

static void a_server_that_ends_is_told_of(void **state)
{
	const char *url;
	struct sql *db AUTO(sql_freep) = open_table(state, &url);

	good(add(db, "a", 1));
	server_test_kill();
	assert_int_equal(add(db, "b", 1), -ENOTCONN);
	assert_true(sql_is_broken(db));
	assert_int_equal(add(db, "c", 1), -ENOTCONN);
	db = sql_free(db);
	if (sql_open(url, &db, &err) == 0)
		db = sql_free(db);
	server_test_start();
	db = server_test_open(url);
	assert_int_equal(count(db), 1);
}

/* A database server that was started anew costs nobody who reads an answer. */
static void a_connection_that_was_closed_while_idle_is_seen(void **state)
{
	const char *url;
	struct sql *db AUTO(sql_freep) = open_table(state, &url);

	good(add(db, "a", 1));
	assert_false(sql_is_left(db));
	assert_int_equal(count(db), 1);
	server_test_kill();
	server_test_start();
	assert_true(sql_is_left(db));
	assert_true(sql_is_broken(db));
	db = sql_free(db);
	db = server_test_open(url);
	/* Where an administrator ends it, there are words, and then the end. */
	server_test_number(url, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
				" WHERE pid <> pg_backend_pid() AND usename = current_user");
	for (int i = 0; i < 500 && !sql_is_left(db); i++)
		usleep(10000);
	assert_true(sql_is_left(db));
}

static void passwords_do_not_come_into_messages(void **state)
{
	static const char *const urls[] = {
		"postgresql://me:secret@127.0.0.1:1/site",
		"postgresql://me:secret%@127.0.0.1:1/site",
		"postgresql://me:sec:ret@[::1/site?nothing=secret",
		"postgresql://me@127.0.0.1:1/site?password=secret",
		"postgresql:secret",
		"postgres://me:secret@127.0.0.1/site",
		"mysql://me:secret@127.0.0.1/site",
	};
	struct sql *db = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		assert_in_range(-sql_open(urls[i], &db, &err), 1, 4095);
		assert_null(strstr(err.text, "secret"));
		assert_null(strstr(err.text, "sec:ret"));
		assert_null(strchr(err.text, '\n'));
	}
}

static void no_server_is_said_soon(void **state)
{
	struct sql *db = NULL;
	uint64_t start = clock_now_us();

	assert_int_equal(sql_open("postgresql://me@/site?host=/nowhere", &db, &err),
#ifdef HAVE_LIBPQ
		-ENOTCONN
#else
		-EOPNOTSUPP
#endif
	);
	assert_true(clock_now_us() - start < 10000000);
}

static const char *sqlite_path(void **state)
{
	return str_after(server_test_url(state), "sqlite:");
}

static void a_file_is_its_owner_s_alone(void **state)
{
	UNUSED struct sql *db AUTO(sql_freep) = open_table(state, NULL);
	const char *path = sqlite_path(state);
	autofree char *log = NULL;
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(asprintf(&log, "%s-wal", path) > 0);
	assert_int_equal(stat(log, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void what_is_no_database_of_ours_is_not_touched(void **state)
{
	const char *url = server_test_url(state), *path = sqlite_path(state);
	static const char letter[] = "A letter, which is no database at all. It has to be longer "
				     "than a database's header, which is 100 bytes.";
	struct sql *db = NULL;
	struct stat before, after;

	assert_int_equal(file_replace(AT_FDCWD, path, letter, sizeof(letter) - 1, 0600), 0);
	assert_int_equal(sql_open(url, &db, &err), -EBADMSG);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(unlink(path), 0);
	/* Another program's. */
	assert_int_equal(sql_open("sqlite:relative", &db, &err), -EINVAL);
	db = server_test_open(url);
	good(sql_change(db, &err, "PRAGMA journal_mode = DELETE"));
	good(sql_change(db, &err, "PRAGMA application_id = 7"));
	good(sql_change(db, &err, "CREATE TABLE other (a)"));
	db = sql_free(db);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(sql_open(url, &db, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "another program"));
	assert_int_equal(stat(path, &after), 0);
	assert_true(before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
		    before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

static void damage_is_said(void **state)
{
	const char *url = server_test_url(state), *path = sqlite_path(state);
	struct sql *db AUTO(sql_freep) = open_table(state, NULL);
	char noise[4096];
	int fd, r = 0;

	for (int i = 0; i < 500; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%030d", i);
		good(add(db, name, 1));
	}
	db = sql_free(db);
	memset(noise, 0xa5, sizeof(noise));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	for (int page = 1; page < 4; page++)
		assert_int_equal(pwrite(fd, noise, sizeof(noise), page * 4096), sizeof(noise));
	close(fd);
	db = server_test_open(url);
	for (int i = 500; i < 1000 && r >= 0; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%030d", i);
		r = add(db, name, 1);
	}
	assert_int_equal(r, -EBADMSG);
	assert_non_null(strstr(err.text, "backup"));
}

static void a_full_disk_leaves_the_transaction_before(void **state)
{
	const char *url = server_test_url(state);
	struct sql *db AUTO(sql_freep) = NULL;
	static char large[100000];
	int r = 0;

	if (!server_test_limit(1200)) {
		print_message("a small file system needs root\n");
		skip();
	}
	db = open_table(state, NULL);
	memset(large, 'x', sizeof(large) - 1);
	good(add(db, "kept", 1));
	good(sql_begin(db, &err));
	good(sql_savepoint(db, &err));
	for (int i = 0; i < 100 && r >= 0; i++) {
		char name[8];

		snprintf(name, sizeof(name), "%d", i);
		r = sql_change(db, &err, ADD, sql_text(name), sql_number(1), sql_text(large));
		if (r >= 0 && i % 3 == 2) {
			good(sql_release(db, &err));
			r = sql_commit(db, &err);
			if (r >= 0)
				good(sql_begin(db, &err));
			if (r >= 0)
				good(sql_savepoint(db, &err));
		}
	}
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(err.text, "make room"));
	sql_rollback(db);
	assert_int_equal(count(db) % 3, 1);
	good(sql_change(db, &err, "DELETE FROM thing WHERE note IS NOT NULL"));
	assert_int_equal(count(db), 1);
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM thing"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(values_come_back_as_they_went),
		SERVER_TEST(a_statement_may_be_asked_with_and_without_a_value),
		SERVER_TEST(texts_are_ordered_by_their_bytes),
		SERVER_TEST(failures_have_the_same_numbers),
		SERVER_TEST(a_transaction_that_failed_takes_nothing_more),
		SERVER_TEST(what_is_undone_is_gone_and_the_rest_is_kept),
		SERVER_TEST(what_is_not_waited_for_is_done_in_its_order),
		SERVER_TEST_ON(SQL_POSTGRES, what_fails_unwaited_for_fails_the_transaction),
		SERVER_TEST(rows_may_be_left_unread),
		SERVER_TEST(one_writes_at_a_time),
		SERVER_TEST(readers_do_not_wait),
		SERVER_TEST(tables_are_counted),
		SERVER_TEST(many_statements_are_kept),
		SERVER_TEST_ON(SQL_POSTGRES, a_writer_that_sleeps_loses_its_turn),
		SERVER_TEST_ON(SQL_POSTGRES, a_server_that_ends_is_told_of),
		SERVER_TEST_ON(SQL_POSTGRES, a_connection_that_was_closed_while_idle_is_seen),
		cmocka_unit_test(passwords_do_not_come_into_messages),
		cmocka_unit_test(no_server_is_said_soon),
		SERVER_TEST_ON(SQL_SQLITE, a_file_is_its_owner_s_alone),
		SERVER_TEST_ON(SQL_SQLITE, what_is_no_database_of_ours_is_not_touched),
		SERVER_TEST_ON(SQL_SQLITE, damage_is_said),
		SERVER_TEST_ON(SQL_SQLITE, a_full_disk_leaves_the_transaction_before),
	};

	return cmocka_run_group_tests(tests, server_test_up, server_test_down);
}
