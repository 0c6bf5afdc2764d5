#include "lrms/database.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/path.h"

#define DATABASE_FILE "queue.db"

/* How long to wait for another process's change, which takes milliseconds unless the disk is slow.
 */
#define BUSY_TIMEOUT_MS 20000

/* By these a file is known as ours: "WNoQ", and the version of the tables. */
#define APPLICATION_ID 0x574e6f51
#define SCHEMA_VERSION 1

#define STRING(x)  STRING_(x)
#define STRING_(x) #x

/* Lists of strings (argv, command, environment) are blobs, each string with its NUL. Times are
 * microseconds since the epoch. `mark` is in the environment of every process of the job. */
static const char schema[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE job ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" state TEXT NOT NULL CHECK (state IN"
	"  ('queued', 'running', 'done', 'failed', 'cancelled', 'timeout')),"
	" name TEXT NOT NULL, user TEXT NOT NULL, node TEXT NOT NULL, image TEXT,"
	" cpus INTEGER NOT NULL, memory INTEGER NOT NULL, timeout INTEGER NOT NULL,"
	" argv BLOB NOT NULL, command BLOB, environment BLOB,"
	" directory TEXT NOT NULL, output TEXT NOT NULL, error TEXT NOT NULL,"
	" umask INTEGER NOT NULL, mark TEXT NOT NULL,"
	" submitted INTEGER NOT NULL, started INTEGER, ended INTEGER,"
	" boot TEXT, keeper_pid INTEGER, keeper_start INTEGER, pid INTEGER,"
	" cancelled INTEGER NOT NULL DEFAULT 0,"
	" exit_status INTEGER, reason TEXT);"
	/* What the runner looks at, however many jobs have ended. */
	"CREATE INDEX job_active ON job (state, id) WHERE state IN ('queued', 'running');"
	"CREATE INDEX job_ended ON job (ended) WHERE ended IS NOT NULL;"
	"PRAGMA application_id = " STRING(APPLICATION_ID) ";"
							  "PRAGMA user_version = " STRING(
								  SCHEMA_VERSION) ";"
										  "COMMIT;";

struct database {
	sqlite3 *handle;
	char *path;
};

struct database_reason {
	int code, error;
	const char *text;
};

static const struct database_reason reasons[] = {
	{SQLITE_FULL, -ENOSPC, "no space is left on its disk; make room and try again"},
	{SQLITE_READONLY, -EROFS, "it cannot be written; look at the rights of its directory"},
	{SQLITE_BUSY, -EBUSY, "another process has kept it locked for too long"},
	{SQLITE_NOTADB, -EBADMSG, "it is no database; move it away to begin with an empty queue"},
	{SQLITE_CORRUPT, -EBADMSG, "it is damaged; move it away to begin with an empty queue"},
	{SQLITE_NOMEM, -ENOMEM, "out of memory"},
	{SQLITE_CONSTRAINT, -EINVAL, "a value is not allowed in it"},
};

static int database_fail(struct database *db, const char *what, struct error *err)
{
	int code = db->handle ? sqlite3_errcode(db->handle) : SQLITE_NOMEM;
	int system = db->handle ? sqlite3_system_errno(db->handle) : 0;

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].code == (code & 0xff))
			return fail(err, reasons[i].error, "cannot %s: queue '%s': %s", what,
				db->path, reasons[i].text);
	if (system > 0 && (code & 0xff) != SQLITE_ERROR)
		return fail_errno(err, -system, "cannot %s: queue '%s'", what, db->path);
	return fail(err, -EIO, "cannot %s: queue '%s': %s", what, db->path,
		db->handle ? sqlite3_errmsg(db->handle) : "out of memory");
}

int database_prepare(struct database *db, const char *sql, sqlite3_stmt **ret, struct error *err)
{
	if (sqlite3_prepare_v2(db->handle, sql, -1, ret, NULL) != SQLITE_OK)
		return database_fail(db, "read", err);
	return 0;
}

void database_finalize(sqlite3_stmt **statement)
{
	sqlite3_finalize(*statement);
	*statement = NULL;
}

void database_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

int database_step(struct database *db, sqlite3_stmt *statement, const char *what, struct error *err)
{
	int code = sqlite3_step(statement);

	if (code == SQLITE_ROW)
		return 1;
	return code == SQLITE_DONE ? 0 : database_fail(db, what, err);
}

int database_change(
	struct database *db, sqlite3_stmt *statement, const char *what, struct error *err)
{
	int r = database_step(db, statement, what, err);

	return r < 0 ? r : sqlite3_changes(db->handle);
}

int64_t database_last_id(const struct database *db)
{
	return sqlite3_last_insert_rowid(db->handle);
}

static int read_number(struct database *db, const char *sql, int64_t *ret, struct error *err)
{
	sqlite3_stmt *statement AUTO(database_finalize) = NULL;
	int r = database_prepare(db, sql, &statement, err);

	if (r == 0)
		r = database_step(db, statement, "open", err);
	if (r < 0)
		return r;
	*ret = r > 0 ? sqlite3_column_int64(statement, 0) : 0;
	return 0;
}

static int database_execute(
	struct database *db, const char *sql, const char *what, struct error *err)
{
	if (sqlite3_exec(db->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
		return database_fail(db, what, err);
	return 0;
}

struct schema {
	int64_t application, version, tables;
};

/* All of it at one moment: somebody may be making the tables just now. */
static int schema_read(struct database *db, struct schema *ret, struct error *err)
{
	int r = database_execute(db, "BEGIN", "open", err);

	if (r < 0)
		return r;
	r = read_number(db, "SELECT count(*) FROM sqlite_master", &ret->tables, err);
	if (r == 0)
		r = read_number(db, "PRAGMA application_id", &ret->application, err);
	if (r == 0)
		r = read_number(db, "PRAGMA user_version", &ret->version, err);
	sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

/* Returns 1 if the tables are there and ours, 0 for an empty file, or negative errno. */
static int schema_check(struct database *db, struct error *err)
{
	struct schema found;
	int r = schema_read(db, &found, err);

	if (r < 0)
		return r;
	if (found.tables == 0 && found.application == 0 && found.version == 0)
		return 0;
	if (found.application != APPLICATION_ID)
		return fail(err, -EBADMSG,
			"queue '%s': it is the database of another program; move it away to begin "
			"with an empty queue",
			db->path);
	if (found.version != SCHEMA_VERSION)
		return fail(err, -EPROTO,
			"queue '%s': its version is %" PRId64 ", this WNoDeS knows %d; use the "
			"WNoDeS that made it, or move it away to begin with an empty queue",
			db->path, found.version, SCHEMA_VERSION);
	return 1;
}

/* Makes the tables, unless somebody else just has: only one at a time gets here, by the lock of the
 * directory. */
static int schema_make(struct database *db, const char *directory, struct error *err)
{
	autoclose int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : file_lock(fd, true, true);

	if (r < 0)
		return fail_errno(err, r, "cannot lock '%s'", directory);
	r = schema_check(db, err);
	if (r != 0)
		return r;
	r = database_execute(db, "PRAGMA journal_mode = WAL", "make", err);
	return r < 0 ? r : database_execute(db, schema, "make", err);
}

/* The environment may name a directory of somebody else's. */
static int directory_make(const char *directory, struct error *err)
{
	struct stat st;
	int r = file_make_dirs(directory, 0700);

	if (r < 0)
		return fail_errno(err, r,
			"cannot make '%s', where the queue belongs; set XDG_STATE_HOME to another "
			"place",
			directory);
	if (stat(directory, &st) < 0)
		return fail_errno(err, -errno, "cannot use '%s'", directory);
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return fail(err, -EPERM,
			"'%s' is not a directory that only you can write to; make it so or set "
			"XDG_STATE_HOME to another place",
			directory);
	return 0;
}

static int database_init(struct database *db, const char *directory, struct error *err)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	int r;

	db->path = path_format("%s/" DATABASE_FILE, directory);
	if (!db->path)
		return fail(err, -ENOMEM, "out of memory");
	/* Environments may hold secrets. What SQLite puts beside it gets the same mode. */
	base_close(open(db->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	if (sqlite3_open_v2(db->path, &db->handle, flags, NULL) != SQLITE_OK)
		return database_fail(db, "open", err);
	sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
	r = database_execute(db, "PRAGMA synchronous = FULL", "open", err);
	if (r == 0)
		r = schema_check(db, err);
	if (r == 0)
		r = schema_make(db, directory, err);
	return MIN_OF(r, 0);
}

int database_open(const char *directory, struct database **ret, struct error *err)
{
	struct database *db AUTO(database_freep) = calloc(1, sizeof(*db));
	int r;

	if (!db)
		return fail(err, -ENOMEM, "out of memory");
	r = directory_make(directory, err);
	if (r == 0)
		r = database_init(db, directory, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(db);
	return 0;
}

struct database *database_free(struct database *db)
{
	if (!db)
		return NULL;
	sqlite3_close_v2(db->handle);
	free(db->path);
	free(db);
	return NULL;
}
