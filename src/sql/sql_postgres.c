/* PostgreSQL, by libpq. Statements are prepared once a connection; what they give is fetched whole.
 * Everything has a bound: a server that does not answer is given up, and a server ends the
 * transaction of a client that it does not hear of, which would keep all others from writing. */
#include <ctype.h>
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/path.h"
#include "sql/backend.h"
#include "sql/cache.h"

/* The server's bounds are in `session` below; then it is given up from here. */
#define ANSWER_US  (30 * UINT64_C(1000000))
#define PATIENT_US (6 * UINT64_C(3600000000)) /* for changes of whole tables */

/* pg_type.h: what a parameter is. PostgreSQL finds out itself what a NULL is. */
#define TYPE_INT8 20
#define TYPE_TEXT 25

#define NUMBER_SIZE 24

/* Reads of what a server says unasked. */
#define UNASKED_MAX 4

struct postgres {
	struct sql sql;
	PGconn *conn;
	char *name; /* for messages */
	struct sql_cache cache;
	unsigned int statements; /* that were prepared */
	uint64_t answer_us;
	/* RELEASE and SAVEPOINT travel with the next statement, and cost no time of their own. */
	bool release, savepoint;
	/* Commands that were sent, whose results were not read. If one of them fails, it is not
	 * known which savepoint there is: the whole transaction is `spoiled`. */
	unsigned int ahead;
	bool spoiled;
};

struct postgres_rows {
	struct sql_rows rows;
	PGresult *result;
	int at;
};

/* What the URL does not say otherwise. A server that may only read is not the one to use. */
static const char *const parameters[][2] = {
	{"connect_timeout", "5"},
	{"keepalives_idle", "5"},
	{"keepalives_interval", "2"},
	{"keepalives_count", "3"},
	{"tcp_user_timeout", "10000"},
	{"client_encoding", "UTF8"},
	{"target_session_attrs", "read-write"},
	{"fallback_application_name", "wnodes-controller"},
};

static const char *const session[] = {
	"SET lock_timeout = 10000",
	"SET statement_timeout = 20000",
	"SET idle_in_transaction_session_timeout = 10000",
	"SET jit = off", /* no statement is worth a compiler */
	/* What is said to be kept is on the disk. */
	"SELECT set_config('synchronous_commit', 'on', false)"
	" WHERE current_setting('synchronous_commit') = 'off'",
	NULL,
};

/* A number that every controller uses, and nobody else: "WNoS". */
#define LOCK       "SELECT pg_advisory_xact_lock(1464758099)"
#define BEGIN_TEXT "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

struct reason {
	const char *state; /* or how it begins */
	int error;
};

/* See "PostgreSQL Error Codes" in its manual. */
static const struct reason reasons[] = {
	{"23505", -EEXIST},   /* unique_violation */
	{"23", -EINVAL},      /* integrity constraint violation */
	{"22", -EINVAL},      /* data exception */
	{"40", -EAGAIN},      /* transaction rollback: serialisation, deadlock */
	{"53100", -ENOSPC},   /* disk_full */
	{"53200", -ENOMEM},   /* out_of_memory */
	{"53300", -ENOTCONN}, /* too_many_connections */
	{"55P03", -EBUSY},    /* lock_not_available */
	{"57014", -EBUSY},    /* query_canceled: by statement_timeout */
	{"57P", -ENOTCONN},   /* the server ends, or has not started yet */
	{"08", -ENOTCONN},    /* connection exception */
	{"25P03", -ENOTCONN}, /* idle_in_transaction_session_timeout */
	{"25006", -ENOTCONN}, /* read_only_sql_transaction: another is the primary now */
	{"26000", -ENOTCONN}, /* the connection is not the one that it was (a pooler) */
	{"42501", -EACCES},   /* insufficient_privilege */
	{"XX001", -EBADMSG},  /* data_corrupted */
	{"XX002", -EBADMSG},  /* index_corrupted */
};

static struct postgres *postgres_of(struct sql *s)
{
	return (struct postgres *)(void *)s;
}

/* libpq's messages have lines; what is told here has one. */
static void flatten(const char *message, char *ret, size_t size)
{
	size_t n = 0;

	for (; *message && n + 1 < size; message++)
		if (!isspace((unsigned char)*message))
			ret[n++] = *message;
		else if (n > 0 && ret[n - 1] != ' ')
			ret[n++] = ' ';
	while (n > 0 && ret[n - 1] == ' ')
		n--;
	ret[n] = 0;
}

static int fail_lost(struct postgres *p, struct error *err)
{
	char text[512];

	flatten(PQerrorMessage(p->conn), text, sizeof(text));
	return fail(err, -ENOTCONN, "the connection to the database '%s' is lost: %s", p->name,
		text[0] ? text : "it was closed");
}

static int result_fail(struct postgres *p, const PGresult *result, struct error *err)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	for (size_t i = 0; state && i < ARRAY_SIZE(reasons); i++)
		if (str_after(state, reasons[i].state))
			return fail(err, reasons[i].error, "database '%s': %s", p->name, message);
	if (PQstatus(p->conn) == CONNECTION_BAD)
		return fail_lost(p, err);
	return fail(err, -EIO, "database '%s': %s", p->name, message ? message : "no reason");
}

/* Waits until there is something to read that makes up a result. */
static int await(struct postgres *p, struct error *err)
{
	uint64_t end = clock_now_us() + p->answer_us, now;

	while (PQisBusy(p->conn)) {
		struct pollfd fd = {.fd = PQsocket(p->conn), .events = POLLIN};

		now = clock_now_us();
		if (now >= end)
			return fail(err, -ENOTCONN, "the database '%s' has not answered for %u s",
				p->name, (unsigned int)(p->answer_us / 1000000));
		if (poll(&fd, 1, (int)((end - now) / 1000) + 1) < 0 && errno != EINTR)
			return fail_errno(err, -ENOTCONN, "cannot wait for the database");
		if (fd.revents && !PQconsumeInput(p->conn))
			return fail_lost(p, err);
	}
	return 0;
}

static bool is_good(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

/* Keeps the last result, or the first that is a failure. */
static void keep_result(PGresult **kept, PGresult *result)
{
	if (*kept && !is_good(*kept)) {
		PQclear(result);
		return;
	}
	PQclear(*kept);
	*kept = result;
}

/* Reads all results of what was sent, each of which is followed by a NULL. */
static int collect(struct postgres *p, PGresult **ret, struct error *err)
{
	unsigned int ahead = p->ahead;
	PGresult *result;
	int r;

	p->ahead = 0;
	for (;;) {
		r = await(p, err);
		if (r < 0)
			return r;
		result = PQgetResult(p->conn);
		if (!result && PQstatus(p->conn) == CONNECTION_BAD)
			return 0;
		if (result && PQresultStatus(result) == PGRES_PIPELINE_SYNC)
			break;
		if (result && ahead > 0 && !is_good(result))
			p->spoiled = true;
		if (result)
			keep_result(ret, result);
		else if (ahead > 0)
			ahead--;
	}
	PQclear(result);
	PQexitPipelineMode(p->conn);
	return 0;
}

static int finish(struct postgres *p, PGresult **ret, struct error *err)
{
	PGresult *result = NULL;
	int r = PQpipelineSync(p->conn) ? collect(p, &result, err) : fail_lost(p, err);

	if (r == 0 && !result)
		r = fail_lost(p, err);
	if (r == 0 && !is_good(result))
		r = result_fail(p, result, err);
	if (r < 0 || !ret)
		PQclear(result);
	else
		*ret = result;
	return r;
}

static bool send_text(struct postgres *p, const char *text)
{
	return PQsendQueryParams(p->conn, text, 0, NULL, NULL, NULL, NULL, 0);
}

/* Texts of our own, up to a NULL. *ret is the last one's. */
static int execute(struct postgres *p, const char *const *texts, PGresult **ret, struct error *err)
{
	bool sent = PQenterPipelineMode(p->conn);

	for (; *texts && sent; texts++)
		sent = send_text(p, *texts);
	return sent ? finish(p, ret, err) : fail_lost(p, err);
}

static bool send_ahead(struct postgres *p, bool *wanted, const char *text)
{
	if (!*wanted)
		return true;
	*wanted = false;
	p->ahead++;
	return send_text(p, text);
}

/* What is to be done before the next statement, which is sent right after it. */
static bool send_waiting(struct postgres *p)
{
	return PQenterPipelineMode(p->conn) && send_ahead(p, &p->release, "RELEASE one") &&
	       send_ahead(p, &p->savepoint, "SAVEPOINT one");
}

struct binding {
	const char **values;
	Oid *types;
	char (*numbers)[NUMBER_SIZE];
	size_t count;
};

static void binding_done(struct binding *b)
{
	free(b->values);
	free(b->types);
	free(b->numbers);
}

static int binding_make(struct binding *b, const struct sql_value *values, size_t count)
{
	b->values = calloc(count + 1, sizeof(*b->values));
	b->types = calloc(count + 1, sizeof(*b->types));
	b->numbers = calloc(count + 1, sizeof(*b->numbers));
	b->count = count;
	if (!b->values || !b->types || !b->numbers)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (values[i].type == SQL_TEXT) {
			b->types[i] = TYPE_TEXT;
			b->values[i] = values[i].text;
		} else if (values[i].type == SQL_NUMBER) {
			b->types[i] = TYPE_INT8;
			b->values[i] = b->numbers[i];
			snprintf(b->numbers[i], NUMBER_SIZE, "%lld", (long long)values[i].number);
		}
	}
	return 0;
}

/* "?1" is "$1" here. A new text, or NULL when out of memory. */
static char *translate(const char *text)
{
	char *copy = strdup(text), quote = 0;

	for (char *c = copy; c && *c; c++) {
		if (quote)
			quote = *c == quote ? 0 : quote;
		else if (*c == '\'' || *c == '"')
			quote = *c;
		else if (*c == '?' && isdigit((unsigned char)c[1]))
			*c = '$';
	}
	return copy;
}

static void statement_name(const struct sql_prepared *prepared, char *ret, size_t size)
{
	snprintf(ret, size, "s%u", (unsigned int)(uintptr_t)prepared->statement);
}

static int prepare(struct postgres *p, struct sql_prepared *prepared, const struct binding *b,
	struct error *err)
{
	autofree char *text = translate(prepared->text);
	char name[NUMBER_SIZE];
	int r;

	if (!text)
		return fail(err, -ENOMEM, "out of memory");
	prepared->statement = (void *)(uintptr_t)++p->statements;
	statement_name(prepared, name, sizeof(name));
	if (!send_waiting(p) || !PQsendPrepare(p->conn, name, text, (int)b->count, b->types))
		r = fail_lost(p, err);
	else
		r = finish(p, NULL, err);
	if (r < 0)
		prepared->statement = NULL;
	return r;
}

static int send_kept(struct postgres *p, const char *text, const struct binding *b, uint64_t types,
	struct error *err)
{
	struct sql_prepared *prepared = sql_cache_get(&p->cache, text, types);
	char name[NUMBER_SIZE];
	int r = 0;

	if (!prepared)
		return fail(err, -ENOMEM, "out of memory");
	if (!prepared->statement)
		r = prepare(p, prepared, b, err);
	if (r < 0)
		return r;
	statement_name(prepared, name, sizeof(name));
	if (!send_waiting(p) ||
		!PQsendQueryPrepared(p->conn, name, (int)b->count, b->values, NULL, NULL, 0))
		return fail_lost(p, err);
	return 0;
}

static int send_once(
	struct postgres *p, const char *text, const struct binding *b, struct error *err)
{
	autofree char *own = translate(text);

	if (!own)
		return fail(err, -ENOMEM, "out of memory");
	if (!send_waiting(p) ||
		!PQsendQueryParams(p->conn, own, (int)b->count, b->types, b->values, NULL, NULL, 0))
		return fail_lost(p, err);
	return 0;
}

static int rows_new(struct postgres *p, PGresult *result, struct sql_rows **ret, struct error *err)
{
	struct postgres_rows *rows = calloc(1, sizeof(*rows));

	if (!rows) {
		PQclear(result);
		return fail(err, -ENOMEM, "out of memory");
	}
	*rows = (struct postgres_rows){{.s = &p->sql}, result, -1};
	*ret = &rows->rows;
	return 0;
}

static int postgres_run(struct sql *s, const char *text, const struct sql_value *values,
	size_t count, bool keep, struct sql_rows **ret, struct error *err)
{
	struct postgres *p = postgres_of(s);
	struct binding b AUTO(binding_done) = {0};
	PGresult *result;
	int r = binding_make(&b, values, count);

	if (r < 0)
		return fail(err, r, "out of memory");
	if (keep)
		r = send_kept(p, text, &b, sql_cache_types(values, count), err);
	else
		r = send_once(p, text, &b, err);
	if (r == 0)
		r = finish(p, &result, err);
	if (r < 0)
		return r;
	if (ret)
		return rows_new(p, result, ret, err);
	r = (int)strtol(PQcmdTuples(result), NULL, 10);
	PQclear(result);
	return r;
}

static int postgres_run_later(struct sql *s, const char *text, const struct sql_value *values,
	size_t count, struct error *err)
{
	struct postgres *p = postgres_of(s);
	struct binding b AUTO(binding_done) = {0};
	int r = binding_make(&b, values, count);

	if (r < 0)
		return fail(err, r, "out of memory");
	r = send_kept(p, text, &b, sql_cache_types(values, count), err);
	p->ahead++;
	return r;
}

static struct postgres_rows *rows_of(const struct sql_rows *rows)
{
	return (struct postgres_rows *)(uintptr_t)rows;
}

static int postgres_rows_next(struct sql_rows *rows, struct error *err)
{
	struct postgres_rows *r = rows_of(rows);

	return ++r->at < PQntuples(r->result);
}

static void postgres_rows_close(struct sql_rows *rows)
{
	PQclear(rows_of(rows)->result);
	free(rows);
}

static int postgres_rows_count(const struct sql_rows *rows)
{
	return PQnfields(rows_of(rows)->result);
}

static const char *postgres_rows_name(const struct sql_rows *rows, int column)
{
	return PQfname(rows_of(rows)->result, column);
}

static bool postgres_rows_is_number(const struct sql_rows *rows, int column)
{
	return PQftype(rows_of(rows)->result, column) == TYPE_INT8;
}

static bool postgres_rows_is_null(const struct sql_rows *rows, int column)
{
	return PQgetisnull(rows_of(rows)->result, rows_of(rows)->at, column);
}

static const char *postgres_rows_text(const struct sql_rows *rows, int column)
{
	if (postgres_rows_is_null(rows, column))
		return NULL;
	return PQgetvalue(rows_of(rows)->result, rows_of(rows)->at, column);
}

/* What is compared gives "t" or "f". */
static int64_t postgres_rows_number(const struct sql_rows *rows, int column)
{
	const char *text = PQgetvalue(rows_of(rows)->result, rows_of(rows)->at, column);

	return *text == 't' ? 1 : strtoll(text, NULL, 10);
}

static void reset(struct postgres *p, bool patient)
{
	p->release = p->savepoint = p->spoiled = false;
	p->answer_us = patient ? PATIENT_US : ANSWER_US;
}

/* What was sent ahead is of a transaction that is undone. */
static void postgres_rollback(struct sql *s)
{
	static const char *const rollback[] = {"ROLLBACK", NULL};
	struct postgres *p = postgres_of(s);
	int r = p->ahead > 0 ? finish(p, NULL, NULL) : 0;

	reset(p, false);
	if (r != -ENOTCONN)
		r = execute(p, rollback, NULL, NULL);
	if (r < 0)
		s->broken = true;
}

static int postgres_begin(struct sql *s, bool patient, struct error *err)
{
	/* Plans are made while tables are small, and kept when they have grown. */
	static const char *const begin[] = {
		BEGIN_TEXT, "SET LOCAL enable_seqscan = off", LOCK, NULL};
	static const char *const patiently[] = {BEGIN_TEXT, "SET LOCAL statement_timeout = 0",
		"SET LOCAL idle_in_transaction_session_timeout = 0", LOCK, NULL};
	struct postgres *p = postgres_of(s);
	int r;

	reset(p, patient);
	r = execute(p, patient ? patiently : begin, NULL, err);
	if (r < 0 && r != -ENOTCONN)
		postgres_rollback(s);
	return r;
}

/* Of a transaction that has failed, COMMIT makes a ROLLBACK without saying so. */
static int postgres_commit(struct sql *s, struct error *err)
{
	static const char *const commit[] = {"COMMIT", NULL};
	struct postgres *p = postgres_of(s);
	PGresult *result;
	int r;

	p->release = p->savepoint = false;
	r = execute(p, commit, &result, err);
	if (r < 0)
		return r;
	if (!streq(PQcmdStatus(result), "COMMIT"))
		r = fail(err, -EIO, "database '%s': the transaction was undone", p->name);
	PQclear(result);
	reset(p, false);
	return r;
}

static int postgres_savepoint(struct sql *s, struct error *err)
{
	postgres_of(s)->savepoint = true;
	return 0;
}

static int postgres_release(struct sql *s, struct error *err)
{
	struct postgres *p = postgres_of(s);

	if (p->savepoint)
		p->savepoint = false;
	else
		p->release = true;
	return 0;
}

static int postgres_undo(struct sql *s, struct error *err)
{
	static const char *const undo[] = {"ROLLBACK TO one", "RELEASE one", NULL};
	struct postgres *p = postgres_of(s);
	int r;

	if (p->savepoint) {
		p->savepoint = false;
		return 0;
	}
	r = p->spoiled ? 0 : execute(p, undo, NULL, err);
	if (p->spoiled)
		return fail(
			err, -EIO, "database '%s': the transaction as a whole has failed", p->name);
	return r;
}

/* What libpq says of a URL may quote the password in it. */
static int check_url(const char *url, struct error *err)
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(url, &message);

	PQfreemem(message);
	if (!options)
		return fail(err, -EINVAL,
			"the database's URL cannot be read; write "
			"'postgresql://USER@HOST/DATABASE', with %%25 and the like for special "
			"characters");
	PQconninfoFree(options);
	return 0;
}

/* Notices say nothing that anybody here waits for. */
static void on_notice(void *userdata, const char *message)
{
}

static int postgres_connect(struct postgres *p, const char *url, struct error *err)
{
	const char *names[ARRAY_SIZE(parameters) + 2] = {0}, *values[ARRAY_SIZE(names)] = {0};
	char text[512];
	size_t n = 0;

	for (; n < ARRAY_SIZE(parameters); n++) {
		names[n] = parameters[n][0];
		values[n] = parameters[n][1];
	}
	names[n] = "dbname"; /* the last has the last word */
	values[n] = url;
	p->conn = PQconnectdbParams(names, values, true);
	if (!p->conn)
		return fail(err, -ENOMEM, "out of memory");
	if (PQstatus(p->conn) == CONNECTION_OK)
		return 0;
	flatten(PQerrorMessage(p->conn), text, sizeof(text));
	return fail(err, -ENOTCONN, "cannot reach the database: %s", text);
}

static int postgres_init(struct postgres *p, const char *url, struct error *err)
{
	int r = check_url(url, err);

	if (r == 0)
		r = postgres_connect(p, url, err);
	if (r < 0)
		return r;
	PQsetNoticeProcessor(p->conn, on_notice, NULL);
	p->name = path_format("%s/%s", PQhost(p->conn), PQdb(p->conn));
	if (!p->name)
		return fail(err, -ENOMEM, "out of memory");
	return execute(p, session, NULL, err);
}

/* What comes unasked is a notice, or the reason of the end and then the end. */
static bool postgres_is_left(struct sql *s)
{
	struct postgres *p = postgres_of(s);
	struct pollfd fd = {.fd = PQsocket(p->conn), .events = POLLIN};

	for (int i = 0; i < UNASKED_MAX && poll(&fd, 1, 0) > 0; i++)
		if (!PQconsumeInput(p->conn))
			return true;
	return PQstatus(p->conn) == CONNECTION_BAD;
}

static void postgres_close(struct sql *s)
{
	struct postgres *p = postgres_of(s);

	PQfinish(p->conn);
	sql_cache_done(&p->cache);
	free(p->name);
	free(p);
}

static int postgres_open(const char *url, struct sql **ret, struct error *err)
{
	struct postgres *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return fail(err, -ENOMEM, "out of memory");
	p->sql.backend = &sql_postgres;
	p->answer_us = ANSWER_US;
	r = postgres_init(p, url, err);
	if (r < 0) {
		postgres_close(&p->sql);
		return r;
	}
	*ret = &p->sql;
	return 0;
}

/* Not by the rules of a language, which differ between servers and change with their libraries. */
static const struct sql_word words[] = {
	{"TEXT", "TEXT COLLATE \"C\""},
	{0},
};

const struct sql_backend sql_postgres = {
	.prefix = "postgresql:",
	.kind = SQL_POSTGRES,
	.open = postgres_open,
	.close = postgres_close,
	.run = postgres_run,
	.run_later = postgres_run_later,
	.is_left = postgres_is_left,
	.rows_next = postgres_rows_next,
	.rows_close = postgres_rows_close,
	.rows_count = postgres_rows_count,
	.rows_name = postgres_rows_name,
	.rows_is_number = postgres_rows_is_number,
	.rows_is_null = postgres_rows_is_null,
	.rows_text = postgres_rows_text,
	.rows_number = postgres_rows_number,
	.begin = postgres_begin,
	.commit = postgres_commit,
	.rollback = postgres_rollback,
	.savepoint = postgres_savepoint,
	.release = postgres_release,
	.undo = postgres_undo,
	.words = words,
	.tables = "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema() "
		  "AND (?1 IS NULL OR tablename = ?1)",
};
