#include "lrms/entry.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>

#include "lib/buffer.h"
#include "lib/parse.h"

/* How long what a dead keeper left may take to be gone. */
#define KILL_TIMEOUT_MS 10000

#define MARK_BYTES 16

/* What entry_from_row() expects; command and environment are read by entry_find() only. */
#define COLUMNS                                                                        \
	"id, state, name, user, node, image, cpus, memory, timeout, argv, directory, " \
	"output, error, umask, mark, submitted, started, ended, boot, keeper_pid, "    \
	"keeper_start, cancelled, exit_status, reason"

enum column {
	COLUMN_ID,
	COLUMN_STATE,
	COLUMN_NAME,
	COLUMN_USER,
	COLUMN_NODE,
	COLUMN_IMAGE,
	COLUMN_CPUS,
	COLUMN_MEMORY,
	COLUMN_TIMEOUT,
	COLUMN_ARGV,
	COLUMN_DIRECTORY,
	COLUMN_OUTPUT,
	COLUMN_ERROR,
	COLUMN_UMASK,
	COLUMN_MARK,
	COLUMN_SUBMITTED,
	COLUMN_STARTED,
	COLUMN_ENDED,
	COLUMN_BOOT,
	COLUMN_KEEPER_PID,
	COLUMN_KEEPER_START,
	COLUMN_CANCELLED,
	COLUMN_EXIT_STATUS,
	COLUMN_REASON,
	COLUMN_COMMAND,
	COLUMN_ENVIRONMENT,
};

static const char sql_add[] =
	"INSERT INTO job (state, name, user, node, image, cpus, memory, timeout, argv, command, "
	"environment, directory, output, error, umask, mark, submitted) VALUES "
	"('queued', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
static const char sql_find[] = "SELECT " COLUMNS ", command, environment FROM job WHERE id = ?1";
static const char *const sql_list[] = {
	[ENTRY_ALL] = "SELECT " COLUMNS " FROM job ORDER BY id",
	[ENTRY_ACTIVE] =
		"SELECT " COLUMNS " FROM job WHERE state IN ('queued', 'running') ORDER BY id",
	[ENTRY_QUEUED] = "SELECT " COLUMNS " FROM job WHERE state = 'queued' ORDER BY id",
	[ENTRY_RUNNING] = "SELECT " COLUMNS " FROM job WHERE state = 'running' ORDER BY id",
};
static const char sql_claim[] =
	"UPDATE job SET state = 'running', started = ?2, boot = ?3, keeper_pid = ?4, "
	"keeper_start = ?5, pid = ?6 WHERE id = ?1 AND state = 'queued'";
/* A command is needed only until it has run, and its environment is nobody's business after that.
 */
static const char sql_end[] =
	"UPDATE job SET state = ?2, exit_status = ?3, reason = ?4, ended = ?5, command = NULL, "
	"environment = NULL WHERE id = ?1 AND state = 'running' AND boot = ?6 AND keeper_pid = ?7 "
	"AND keeper_start = ?8";
static const char sql_end_queued[] =
	"UPDATE job SET state = ?2, exit_status = ?3, reason = ?4, ended = ?5, command = NULL, "
	"environment = NULL WHERE id = ?1 AND state = 'queued'";
static const char sql_want_end[] =
	"UPDATE job SET cancelled = 1 WHERE id = ?1 AND state = 'running'";
static const char sql_forget[] = "DELETE FROM job WHERE ended < ?1";

void entry_done(struct entry *entry)
{
	lrms_job_done(&entry->job);
	strv_done(&entry->command);
	strv_done(&entry->environment);
	free(entry->output);
	free(entry->error);
	*entry = (struct entry){0};
}

int entry_parse_id(const char *text, int64_t *ret, struct error *err)
{
	uint64_t id;

	if (parse_number(text, 1, INT64_MAX, &id, NULL) < 0)
		return fail(err, -EINVAL,
			"'%s' is no job; give a number, as `wnodes submit` and `wnodes queue` do",
			text);
	*ret = (int64_t)id;
	return 0;
}

/* The strings one after the other, each with its NUL. */
static int list_pack(const char *const *list, struct buffer *ret)
{
	int r = 0;

	for (; list && *list && r == 0; list++)
		r = buffer_append(ret, *list, strlen(*list) + 1);
	return r;
}

static void list_unpack(sqlite3_stmt *row, int column, struct strv *ret)
{
	const char *p = sqlite3_column_blob(row, column);
	int length = sqlite3_column_bytes(row, column);
	const char *end = p ? p + length : NULL;

	/* Whatever is in the file, it is not read beyond its end. */
	while (p < end) {
		size_t n = strnlen(p, (size_t)(end - p));

		strv_add_format(ret, "%.*s", (int)n, p);
		p += n + 1;
	}
}

static int mark_make(char ret[ENTRY_MARK_MAX])
{
	uint8_t bytes[MARK_BYTES];
	char *to = ret + snprintf(ret, ENTRY_MARK_MAX, ENTRY_MARK_NAME "=");

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		to += sprintf(to, "%02x", bytes[i]);
	return 0;
}

struct packed {
	struct buffer argv, command, environment;
};

static void packed_done(struct packed *p)
{
	buffer_done(&p->argv);
	buffer_done(&p->command);
	buffer_done(&p->environment);
}

static void bind_buffer(sqlite3_stmt *statement, int index, const struct buffer *buffer)
{
	sqlite3_bind_blob(statement, index, buffer_head(buffer), (int)buffer->len, SQLITE_STATIC);
}

static void bind_submission(
	sqlite3_stmt *statement, const struct lrms_submission *s, const struct packed *packed)
{
	database_bind_text(statement, 1, s->name);
	database_bind_text(statement, 4, s->image);
	sqlite3_bind_int64(statement, 5, (int64_t)s->cpus);
	sqlite3_bind_int64(statement, 6, (int64_t)s->memory_bytes);
	sqlite3_bind_int64(statement, 7, (int64_t)s->timeout_us);
	bind_buffer(statement, 8, &packed->argv);
	bind_buffer(statement, 9, &packed->command);
	bind_buffer(statement, 10, &packed->environment);
	database_bind_text(statement, 11, s->directory);
	database_bind_text(statement, 12, s->output);
	database_bind_text(statement, 13, s->error);
	sqlite3_bind_int(statement, 14, (int)s->umask);
}

int entry_add(struct database *db, const struct lrms_submission *submission, const char *user,
	const char *node, int64_t now_us, int64_t *ret_id, struct error *err)
{
	sqlite3_stmt *statement AUTO(database_finalize) = NULL;
	struct packed packed AUTO(packed_done) = {0};
	char mark[ENTRY_MARK_MAX];
	int r = database_prepare(db, sql_add, &statement, err);

	if (r < 0)
		return r;
	if (list_pack(submission->argv, &packed.argv) < 0 ||
		list_pack(submission->command, &packed.command) < 0 ||
		list_pack(submission->environment, &packed.environment) < 0)
		return fail(err, -ENOMEM, "out of memory");
	if (mark_make(mark) < 0)
		return fail(err, -EIO, "cannot choose a mark for the job");
	bind_submission(statement, submission, &packed);
	database_bind_text(statement, 2, user);
	database_bind_text(statement, 3, node);
	database_bind_text(statement, 15, mark);
	sqlite3_bind_int64(statement, 16, now_us);
	r = database_change(db, statement, "add the job", err);
	if (r < 0)
		return r;
	*ret_id = database_last_id(db);
	return 0;
}

static char *column_text(sqlite3_stmt *row, int column)
{
	const char *text = (const char *)sqlite3_column_text(row, column);

	return text ? strdup(text) : NULL;
}

static void keeper_from_row(sqlite3_stmt *row, struct entry_keeper *ret)
{
	const char *boot = (const char *)sqlite3_column_text(row, COLUMN_BOOT);

	ret->process.pid = sqlite3_column_int(row, COLUMN_KEEPER_PID);
	ret->process.start = (uint64_t)sqlite3_column_int64(row, COLUMN_KEEPER_START);
	snprintf(ret->boot, sizeof(ret->boot), "%s", boot ? boot : "");
}

static void job_from_row(sqlite3_stmt *row, struct lrms_job *ret)
{
	const char *state = (const char *)sqlite3_column_text(row, COLUMN_STATE);
	bool has_status = sqlite3_column_type(row, COLUMN_EXIT_STATUS) != SQLITE_NULL;

	snprintf(ret->id, sizeof(ret->id), "%lld", sqlite3_column_int64(row, COLUMN_ID));
	/* The table lets no other words in. */
	if (!state || lrms_state_parse(state, &ret->state) < 0)
		ret->state = LRMS_FAILED;
	ret->name = column_text(row, COLUMN_NAME);
	ret->user = column_text(row, COLUMN_USER);
	ret->node = column_text(row, COLUMN_NODE);
	ret->image = column_text(row, COLUMN_IMAGE);
	ret->reason = column_text(row, COLUMN_REASON);
	ret->directory = column_text(row, COLUMN_DIRECTORY);
	ret->cpus = (uint64_t)sqlite3_column_int64(row, COLUMN_CPUS);
	ret->memory_bytes = (uint64_t)sqlite3_column_int64(row, COLUMN_MEMORY);
	ret->submitted_us = sqlite3_column_int64(row, COLUMN_SUBMITTED);
	ret->started_us = sqlite3_column_int64(row, COLUMN_STARTED);
	ret->ended_us = sqlite3_column_int64(row, COLUMN_ENDED);
	ret->exit_status = has_status ? sqlite3_column_int(row, COLUMN_EXIT_STATUS) : -1;
	list_unpack(row, COLUMN_ARGV, &ret->argv);
}

static int entry_from_row(sqlite3_stmt *row, struct entry *ret, struct error *err)
{
	const char *mark = (const char *)sqlite3_column_text(row, COLUMN_MARK);

	ret->id = sqlite3_column_int64(row, COLUMN_ID);
	job_from_row(row, &ret->job);
	keeper_from_row(row, &ret->keeper);
	ret->output = column_text(row, COLUMN_OUTPUT);
	ret->error = column_text(row, COLUMN_ERROR);
	ret->umask = (mode_t)sqlite3_column_int(row, COLUMN_UMASK) & 0777;
	ret->timeout_us = (uint64_t)sqlite3_column_int64(row, COLUMN_TIMEOUT);
	ret->cancelled = sqlite3_column_int(row, COLUMN_CANCELLED) != 0;
	snprintf(ret->mark, sizeof(ret->mark), "%s", mark ? mark : "");
	if (sqlite3_column_count(row) > COLUMN_COMMAND) {
		list_unpack(row, COLUMN_COMMAND, &ret->command);
		list_unpack(row, COLUMN_ENVIRONMENT, &ret->environment);
	}
	/* None of these is NULL in the table. */
	if (!ret->job.name || !ret->job.user || !ret->job.directory || !ret->output ||
		!ret->error || ret->job.argv.failed || ret->command.failed ||
		ret->environment.failed)
		return fail(err, -ENOMEM, "out of memory");
	return 0;
}

int entry_find(struct database *db, int64_t id, struct entry *ret, struct error *err)
{
	sqlite3_stmt *statement AUTO(database_finalize) = NULL;
	int r = database_prepare(db, sql_find, &statement, err);

	*ret = (struct entry){0};
	if (r < 0)
		return r;
	sqlite3_bind_int64(statement, 1, id);
	r = database_step(db, statement, "find the job", err);
	if (r < 0)
		return r;
	if (r == 0)
		return fail(
			err, -ENOENT, "there is no job %" PRId64 "; see `wnodes queue --all`", id);
	r = entry_from_row(statement, ret, err);
	if (r < 0)
		entry_done(ret);
	return r;
}

int entry_list(struct database *db, enum entry_selection selection,
	int (*each)(const struct entry *entry, void *userdata), void *userdata, struct error *err)
{
	sqlite3_stmt *statement AUTO(database_finalize) = NULL;
	int r = database_prepare(db, sql_list[selection], &statement, err);

	if (r < 0)
		return r;
	while ((r = database_step(db, statement, "list the jobs", err)) > 0) {
		struct entry entry AUTO(entry_done) = {0};

		r = entry_from_row(statement, &entry, err);
		if (r == 0)
			r = each(&entry, userdata);
		if (r != 0)
			return r;
	}
	return r;
}

int entry_claim(struct database *db, int64_t id, const struct entry_keeper *keeper, pid_t pid,
	int64_t now_us, struct error *err)
{
	sqlite3_stmt *statement AUTO(database_finalize) = NULL;
	int r = database_prepare(db, sql_claim, &statement, err);

	if (r < 0)
		return r;
	sqlite3_bind_int64(statement, 1, id);
	sqlite3_bind_int64(statement, 2, now_us);
	database_bind_text(statement, 3, keeper->boot);
	sqlite3_bind_int(statement, 4, keeper->process.pid);
	sqlite3_bind_int64(statement, 5, (int64_t)keeper->process.start);
	sqlite3_bind_int(statement, 6, pid);
	return database_change(db, statement, "start the job", err);
}

static void bind_end(sqlite3_stmt *statement, int64_t id, enum lrms_state state, int exit_status,
	const char *reason, int64_t now_us)
{
	sqlite3_bind_int64(statement, 1, id);
	database_bind_text(statement, 2, lrms_state_name(state));
	if (exit_status >= 0)
		sqlite3_bind_int(statement, 3, exit_status);
	database_bind_text(statement, 4, reason);
	sqlite3_bind_int64(statement, 5, now_us);
}

int entry_end(struct database *db, int64_t id, const struct entry_keeper *keeper,
	enum lrms_state state, int exit_status, const char *reason, int64_t now_us,
	struct error *err)
{
	sqlite3_stmt *statement AUTO(database_finalize) = NULL;
	int r = database_prepare(db, sql_end, &statement, err);

	if (r < 0)
		return r;
	bind_end(statement, id, state, exit_status, reason, now_us);
	database_bind_text(statement, 6, keeper->boot);
	sqlite3_bind_int(statement, 7, keeper->process.pid);
	sqlite3_bind_int64(statement, 8, (int64_t)keeper->process.start);
	return database_change(db, statement, "note the job's end", err);
}

static int end_queued(struct database *db, int64_t id, enum lrms_state state, int exit_status,
	const char *reason, int64_t now_us, struct error *err)
{
	sqlite3_stmt *statement AUTO(database_finalize) = NULL;
	int r = database_prepare(db, sql_end_queued, &statement, err);

	if (r < 0)
		return r;
	bind_end(statement, id, state, exit_status, reason, now_us);
	return database_change(db, statement, "note the job's end", err);
}

int entry_refuse(struct database *db, int64_t id, int exit_status, const char *reason,
	int64_t now_us, struct error *err)
{
	return end_queued(db, id, LRMS_FAILED, exit_status, reason, now_us, err);
}

int entry_cancel(struct database *db, int64_t id, int64_t now_us, struct error *err)
{
	return end_queued(db, id, LRMS_CANCELLED, -1, "cancelled before it began", now_us, err);
}

int entry_want_end(struct database *db, int64_t id, struct error *err)
{
	sqlite3_stmt *statement AUTO(database_finalize) = NULL;
	int r = database_prepare(db, sql_want_end, &statement, err);

	if (r < 0)
		return r;
	sqlite3_bind_int64(statement, 1, id);
	return database_change(db, statement, "cancel the job", err);
}

int entry_forget(struct database *db, int64_t before_us, struct error *err)
{
	sqlite3_stmt *statement AUTO(database_finalize) = NULL;
	int r = database_prepare(db, sql_forget, &statement, err);

	if (r < 0)
		return r;
	sqlite3_bind_int64(statement, 1, before_us);
	return database_change(db, statement, "forget old jobs", err);
}

static bool boot_is_this(const struct entry *entry)
{
	char boot[PROCESS_BOOT_ID_MAX];

	/* Where that cannot be told, pid and start time have to do. */
	return process_boot_id(boot) < 0 || streq(boot, entry->keeper.boot);
}

bool entry_is_kept(const struct entry *entry)
{
	struct process now;
	int r;

	if (!boot_is_this(entry))
		return false;
	r = process_find(entry->keeper.process.pid, &now);
	if (r < 0)
		return r != -ESRCH;
	return now.start == entry->keeper.process.start;
}

int entry_settle(struct database *db, const struct entry *entry, int64_t now_us, struct error *err)
{
	const char *reason = "nobody saw its end: the process that kept it was killed";
	int r;

	if (entry->job.state != LRMS_RUNNING || entry_is_kept(entry))
		return 0;
	if (!boot_is_this(entry)) {
		reason = "the machine went down while it ran";
	} else {
		/* Its slots are free only when it is gone. */
		r = process_kill_all(0,
			str_after(entry->mark, ENTRY_MARK_NAME "=") ? entry->mark : NULL,
			KILL_TIMEOUT_MS);
		if (r < 0)
			return fail_errno(
				err, r, "cannot end what is left of job %" PRId64, entry->id);
	}
	return entry_end(db, entry->id, &entry->keeper,
		entry->cancelled ? LRMS_CANCELLED : LRMS_FAILED, -1, reason, now_us, err);
}
