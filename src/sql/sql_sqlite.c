/* SQLite: a file with its log beside it (WAL), which many processes may have open. A change is on
 * the disk when its transaction has ended (synchronous=FULL). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>

#include "lib/clock.h"
#include "sql/backend.h"
#include "sql/cache.h"

/* How long to wait for another process's change. */
#define BUSY_TIMEOUT_MS 10000

/* By this a file is known as ours: "WNoS". */
#define APPLICATION_ID 0x574e6f53

/* What is left of the log on the disk after it was longer, for a while. */
#define LOG_BYTES 67108864

#define STRING(x)  STRING_(x)
#define STRING_(x) #x

struct sqlite {
	struct sql sql;
	sqlite3 *handle;
	const char *path;
	char *url;
	struct sql_cache cache;
};

struct sqlite_rows {
	struct sql_rows rows;
	sqlite3_stmt *statement;
	bool kept; /* by the cache */
};

struct reason {
	int code, error;
	const char *text;
};

/* Extended codes come first. */
static const struct reason reasons[] = {
	{SQLITE_CONSTRAINT_UNIQUE, -EEXIST, "it is there already"},
	{SQLITE_CONSTRAINT_PRIMARYKEY, -EEXIST, "it is there already"},
	{SQLITE_CONSTRAINT_ROWID, -EEXIST, "it is there already"},
	{SQLITE_BUSY_SNAPSHOT, -EAGAIN, "another process has changed it meanwhile"},
	{SQLITE_FULL, -ENOSPC, "no space is left on its disk; make room"},
	{SQLITE_READONLY, -EROFS, "it cannot be written; look at the rights of its directory"},
	{SQLITE_BUSY, -EBUSY, "another process has kept it locked for too long"},
	{SQLITE_NOTADB, -EBADMSG, "it is no database; move it away, or name another file"},
	{SQLITE_CORRUPT, -EBADMSG, "it is damaged; restore it from a backup"},
	{SQLITE_NOMEM, -ENOMEM, "out of memory"},
	{SQLITE_CONSTRAINT, -EINVAL, NULL},
	{SQLITE_MISMATCH, -EINVAL, NULL},
	{SQLITE_TOOBIG, -E2BIG, NULL},
};

static struct sqlite *sqlite_of(struct sql *s)
{
	return (struct sqlite *)(void *)s;
}

static int sqlite_fail(struct sqlite *q, struct error *err)
{
	int code = q->handle ? sqlite3_extended_errcode(q->handle) : SQLITE_NOMEM;
	int system = q->handle ? sqlite3_system_errno(q->handle) : 0;
	const char *text = q->handle ? sqlite3_errmsg(q->handle) : "out of memory";

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].code == code || reasons[i].code == (code & 0xff))
			return fail(err, reasons[i].error, "database '%s': %s", q->path,
				reasons[i].text ? reasons[i].text : text);
	if (system > 0 && (code & 0xff) != SQLITE_ERROR)
		return fail_errno(err, -system, "database '%s'", q->path);
	return fail(err, -EIO, "database '%s': %s", q->path, text);
}

static int execute(struct sqlite *q, const char *text, struct error *err)
{
	if (sqlite3_exec(q->handle, text, NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_fail(q, err);
	return 0;
}

static int prepare(
	struct sqlite *q, const char *text, bool keep, sqlite3_stmt **ret, struct error *err)
{
	unsigned int flags = keep ? SQLITE_PREPARE_PERSISTENT : 0;

	if (sqlite3_prepare_v3(q->handle, text, -1, flags, ret, NULL) != SQLITE_OK)
		return sqlite_fail(q, err);
	return 0;
}

/* *keep becomes false if the statement is in use: then there is another for this once. */
static int find(
	struct sqlite *q, const char *text, bool *keep, sqlite3_stmt **ret, struct error *err)
{
	struct sql_prepared *p = *keep ? sql_cache_get(&q->cache, text, 0) : NULL;
	sqlite3_stmt *statement;
	int r;

	*keep = p && !(p->statement && sqlite3_stmt_busy(p->statement));
	if (!*keep)
		return prepare(q, text, false, ret, err);
	if (!p->statement) {
		r = prepare(q, text, true, &statement, err);
		if (r < 0)
			return r;
		p->statement = statement;
	}
	*ret = p->statement;
	return 0;
}

static void bind(sqlite3_stmt *statement, const struct sql_value *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int at = (int)i + 1;

		if (values[i].type == SQL_NUMBER)
			sqlite3_bind_int64(statement, at, values[i].number);
		else if (values[i].type == SQL_TEXT)
			sqlite3_bind_text(statement, at, values[i].text, -1, SQLITE_TRANSIENT);
		else
			sqlite3_bind_null(statement, at);
	}
}

static void unuse(sqlite3_stmt *statement, bool kept)
{
	if (kept)
		sqlite3_reset(statement);
	else
		sqlite3_finalize(statement);
}

static int change(struct sqlite *q, sqlite3_stmt *statement, struct error *err)
{
	int code;

	do {
		code = sqlite3_step(statement);
	} while (code == SQLITE_ROW);
	return code == SQLITE_DONE ? sqlite3_changes(q->handle) : sqlite_fail(q, err);
}

static int rows_new(struct sqlite *q, sqlite3_stmt *statement, bool kept, struct sql_rows **ret,
	struct error *err)
{
	struct sqlite_rows *rows = calloc(1, sizeof(*rows));

	if (!rows)
		return fail(err, -ENOMEM, "out of memory");
	*rows = (struct sqlite_rows){{.s = &q->sql}, statement, kept};
	*ret = &rows->rows;
	return 0;
}

static int sqlite_run(struct sql *s, const char *text, const struct sql_value *values, size_t count,
	bool keep, struct sql_rows **ret, struct error *err)
{
	struct sqlite *q = sqlite_of(s);
	sqlite3_stmt *statement;
	int r;

	/* A full disk ends a transaction, and what comes after must not be kept without it. */
	if (s->in_transaction && sqlite3_get_autocommit(q->handle))
		return fail(err, -EIO, "database '%s': the transaction was undone", q->path);
	r = find(q, text, &keep, &statement, err);
	if (r < 0)
		return r;
	bind(statement, values, count);
	r = ret ? rows_new(q, statement, keep, ret, err) : change(q, statement, err);
	if (r < 0 || !ret)
		unuse(statement, keep);
	return r;
}

static struct sqlite_rows *rows_of(const struct sql_rows *rows)
{
	return (struct sqlite_rows *)(uintptr_t)rows;
}

static int sqlite_rows_next(struct sql_rows *rows, struct error *err)
{
	int code = sqlite3_step(rows_of(rows)->statement);

	if (code == SQLITE_ROW)
		return 1;
	return code == SQLITE_DONE ? 0 : sqlite_fail(sqlite_of(rows->s), err);
}

static void sqlite_rows_close(struct sql_rows *rows)
{
	unuse(rows_of(rows)->statement, rows_of(rows)->kept);
	free(rows);
}

static int sqlite_rows_count(const struct sql_rows *rows)
{
	return sqlite3_column_count(rows_of(rows)->statement);
}

static const char *sqlite_rows_name(const struct sql_rows *rows, int column)
{
	return sqlite3_column_name(rows_of(rows)->statement, column);
}

static bool sqlite_rows_is_number(const struct sql_rows *rows, int column)
{
	return sqlite3_column_type(rows_of(rows)->statement, column) == SQLITE_INTEGER;
}

static bool sqlite_rows_is_null(const struct sql_rows *rows, int column)
{
	return sqlite3_column_type(rows_of(rows)->statement, column) == SQLITE_NULL;
}

static const char *sqlite_rows_text(const struct sql_rows *rows, int column)
{
	return (const char *)sqlite3_column_text(rows_of(rows)->statement, column);
}

static int64_t sqlite_rows_number(const struct sql_rows *rows, int column)
{
	return sqlite3_column_int64(rows_of(rows)->statement, column);
}

static int sqlite_begin(struct sql *s, bool patient, struct error *err)
{
	return execute(sqlite_of(s), "BEGIN IMMEDIATE", err);
}

static int sqlite_commit(struct sql *s, struct error *err)
{
	return execute(sqlite_of(s), "COMMIT", err);
}

/* It may have been undone already. */
static void sqlite_rollback(struct sql *s)
{
	if (!sqlite3_get_autocommit(sqlite_of(s)->handle))
		sqlite3_exec(sqlite_of(s)->handle, "ROLLBACK", NULL, NULL, NULL);
}

static int sqlite_savepoint(struct sql *s, struct error *err)
{
	return execute(sqlite_of(s), "SAVEPOINT one", err);
}

static int sqlite_release(struct sql *s, struct error *err)
{
	return execute(sqlite_of(s), "RELEASE one", err);
}

static int sqlite_undo(struct sql *s, struct error *err)
{
	return execute(sqlite_of(s), "ROLLBACK TO one; RELEASE one", err);
}

struct found {
	int64_t application, tables;
};

static int read_number(struct sqlite *q, const char *text, int64_t *ret, struct error *err)
{
	sqlite3_stmt *statement = NULL;
	int r = prepare(q, text, false, &statement, err);

	if (r < 0)
		return r;
	if (sqlite3_step(statement) == SQLITE_ROW)
		*ret = sqlite3_column_int64(statement, 0);
	else
		r = sqlite_fail(q, err);
	sqlite3_finalize(statement);
	return r;
}

/* Both at one moment: somebody may be making the tables just now. */
static int look(struct sqlite *q, struct found *ret, struct error *err)
{
	int r = execute(q, "BEGIN", err);

	if (r < 0)
		return r;
	r = read_number(q, "SELECT count(*) FROM sqlite_master", &ret->tables, err);
	if (r == 0)
		r = read_number(q, "PRAGMA application_id", &ret->application, err);
	sqlite3_exec(q->handle, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

/* The change of the mode does not wait for others who have the file open, as changes do. */
static int set_mode(struct sqlite *q, struct error *err)
{
	uint64_t end = clock_now_us() + BUSY_TIMEOUT_MS * UINT64_C(1000);
	int r;

	for (;;) {
		r = execute(q, "PRAGMA journal_mode = WAL", err);
		if (r != -EBUSY || clock_now_us() > end)
			return r;
		usleep(10000);
	}
}

/* A file of somebody else's is not touched. */
static int claim(struct sqlite *q, struct error *err)
{
	struct found found;
	int r = look(q, &found, err);

	if (r < 0)
		return r;
	if (found.application == APPLICATION_ID)
		return 0;
	if (found.application != 0 || found.tables > 0)
		return fail(err, -EBADMSG,
			"database '%s': it is another program's; move it away, or name another "
			"file",
			q->path);
	r = set_mode(q, err);
	return r < 0 ? r : execute(q, "PRAGMA application_id = " STRING(APPLICATION_ID), err);
}

/* What SQLite puts beside the file gets its mode. Closing a descriptor of the file takes away the
 * locks that this process has on it (fcntl(2)), so nothing else may open it meanwhile. */
static int open_file(struct sqlite *q, struct error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	int code;

	pthread_mutex_lock(&lock);
	base_close(open(q->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	code = sqlite3_open_v2(q->path, &q->handle, flags, NULL);
	pthread_mutex_unlock(&lock);
	return code == SQLITE_OK ? 0 : sqlite_fail(q, err);
}

static int sqlite_init(struct sqlite *q, struct error *err)
{
	int r = open_file(q, err);

	if (r < 0)
		return r;
	sqlite3_busy_timeout(q->handle, BUSY_TIMEOUT_MS);
	r = claim(q, err);
	if (r < 0)
		return r;
	return execute(q,
		"PRAGMA synchronous = FULL; PRAGMA case_sensitive_like = ON;"
		/* What is deleted need not be overwritten: it has to be possible on a full disk. */
		"PRAGMA secure_delete = FAST;"
		"PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = " STRING(LOG_BYTES),
		err);
}

static void sqlite_close(struct sql *s)
{
	struct sqlite *q = sqlite_of(s);

	for (size_t i = 0; i < q->cache.size; i++)
		sqlite3_finalize(q->cache.slots[i].statement);
	sql_cache_done(&q->cache);
	sqlite3_close_v2(q->handle);
	free(q->url);
	free(q);
}

static int sqlite_open(const char *url, struct sql **ret, struct error *err)
{
	struct sqlite *q = calloc(1, sizeof(*q));
	int r;

	if (!q || !(q->url = strdup(url))) {
		free(q);
		return fail(err, -ENOMEM, "out of memory");
	}
	q->sql.backend = &sql_sqlite;
	q->path = str_after(q->url, sql_sqlite.prefix);
	r = *q->path == '/' ? sqlite_init(q, err)
			    : fail(err, -EINVAL,
				      "database '%s': its path does not begin with '/'; write "
				      "'sqlite:/PATH'",
				      url);
	if (r < 0) {
		sqlite_close(&q->sql);
		return r;
	}
	*ret = &q->sql;
	return 0;
}

const struct sql_backend sql_sqlite = {
	.prefix = "sqlite:",
	.kind = SQL_SQLITE,
	.open = sqlite_open,
	.close = sqlite_close,
	.run = sqlite_run,
	.rows_next = sqlite_rows_next,
	.rows_close = sqlite_rows_close,
	.rows_count = sqlite_rows_count,
	.rows_name = sqlite_rows_name,
	.rows_is_number = sqlite_rows_is_number,
	.rows_is_null = sqlite_rows_is_null,
	.rows_text = sqlite_rows_text,
	.rows_number = sqlite_rows_number,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.savepoint = sqlite_savepoint,
	.release = sqlite_release,
	.undo = sqlite_undo,
	.tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND "
		  "name NOT LIKE 'sqlite_%' AND (?1 IS NULL OR name = ?1)",
};
