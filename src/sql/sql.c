#include "sql/sql.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "config.h"
#include "lib/buffer.h"
#include "sql/backend.h"

static const struct sql_backend *const backends[] = {
	&sql_sqlite,
#ifdef HAVE_LIBPQ
	&sql_postgres,
#endif
};

int sql_open(const char *url, struct sql **ret, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		if (str_after(url, backends[i]->prefix))
			return backends[i]->open(url, ret, err);
	if (str_after(url, "postgres:"))
		return fail(err, -EINVAL,
			"the database's URL begins with 'postgres:'; write 'postgresql:'");
	if (str_after(url, "postgresql:"))
		return fail(err, -EOPNOTSUPP,
			"this WNoDeS was built without PostgreSQL; use a database 'sqlite:/PATH', or "
			"build it with libpq");
	return fail(err, -EINVAL,
		"the database's URL is neither 'sqlite:/PATH' nor 'postgresql://...'");
}

struct sql *sql_free(struct sql *s)
{
	if (!s)
		return NULL;
	s->backend->close(s);
	return NULL;
}

enum sql_kind sql_kind(const struct sql *s)
{
	return s->backend->kind;
}

bool sql_is_broken(const struct sql *s)
{
	return s->broken;
}

bool sql_is_left(struct sql *s)
{
	if (!s->broken && s->backend->is_left)
		s->broken = s->backend->is_left(s);
	return s->broken;
}

/* Notes what a call's end means for the next. */
static int note(struct sql *s, int r, const struct error *err)
{
	if (r == -ENOTCONN)
		s->broken = true;
	if (r < 0 && s->in_transaction && s->failed.code == 0) {
		s->failed = err ? *err : (struct error){.text = "the database has failed"};
		s->failed.code = r;
	}
	return r;
}

int sql_failure(const struct sql *s, struct error *err)
{
	if (s->failed.code < 0)
		return fail(err, s->failed.code, "%s", s->failed.text);
	if (s->broken)
		return fail(err, -ENOTCONN, "the connection to the database is lost");
	return 0;
}

static int run(struct sql *s, struct error *err, const char *text, const struct sql_value *values,
	size_t count, bool keep, struct sql_rows **ret)
{
	int r = sql_failure(s, err);

	return r < 0 ? r : note(s, s->backend->run(s, text, values, count, keep, ret, err), err);
}

int sql_change_values(struct sql *s, struct error *err, const char *text,
	const struct sql_value *values, size_t count)
{
	return run(s, err, text, values, count, true, NULL);
}

int sql_change_later_values(struct sql *s, struct error *err, const char *text,
	const struct sql_value *values, size_t count)
{
	int r = sql_failure(s, err);

	if (r < 0)
		return r;
	if (!s->in_transaction || !s->backend->run_later)
		return MIN_OF(run(s, err, text, values, count, true, NULL), 0);
	return note(s, s->backend->run_later(s, text, values, count, err), err);
}

int sql_change_once(struct sql *s, struct error *err, const char *text,
	const struct sql_value *values, size_t count)
{
	return run(s, err, text, values, count, false, NULL);
}

int sql_select_values(struct sql *s, struct error *err, struct sql_rows **ret, const char *text,
	const struct sql_value *values, size_t count)
{
	return run(s, err, text, values, count, true, ret);
}

int sql_select_once(struct sql *s, struct error *err, struct sql_rows **ret, const char *text,
	const struct sql_value *values, size_t count)
{
	return run(s, err, text, values, count, false, ret);
}

int sql_rows_next(struct sql_rows *rows, struct error *err)
{
	return note(rows->s, rows->s->backend->rows_next(rows, err), err);
}

struct sql_rows *sql_rows_free(struct sql_rows *rows)
{
	if (!rows)
		return NULL;
	rows->s->backend->rows_close(rows);
	return NULL;
}

int sql_rows_count(const struct sql_rows *rows)
{
	return rows->s->backend->rows_count(rows);
}

const char *sql_rows_name(const struct sql_rows *rows, int column)
{
	return rows->s->backend->rows_name(rows, column);
}

bool sql_rows_is_number(const struct sql_rows *rows, int column)
{
	return rows->s->backend->rows_is_number(rows, column);
}

const char *sql_rows_text(const struct sql_rows *rows, int column)
{
	return rows->s->backend->rows_text(rows, column);
}

int64_t sql_rows_number(const struct sql_rows *rows, int column)
{
	return rows->s->backend->rows_number(rows, column);
}

bool sql_rows_is_null(const struct sql_rows *rows, int column)
{
	return rows->s->backend->rows_is_null(rows, column);
}

int sql_get_number_values(struct sql *s, struct error *err, int64_t *ret, const char *text,
	const struct sql_value *values, size_t count)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select_values(s, err, &rows, text, values, count);

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r > 0)
		*ret = sql_rows_number(rows, 0);
	return r;
}

static int begin(struct sql *s, bool patient, struct error *err)
{
	int r = sql_failure(s, err);

	if (r == 0)
		r = note(s, s->backend->begin(s, patient, err), err);
	s->in_transaction = r == 0;
	return r;
}

int sql_begin(struct sql *s, struct error *err)
{
	return begin(s, false, err);
}

int sql_begin_patient(struct sql *s, struct error *err)
{
	return begin(s, true, err);
}

int sql_commit(struct sql *s, struct error *err)
{
	int r = sql_failure(s, err);

	if (r == 0)
		r = note(s, s->backend->commit(s, err), err);
	if (r < 0) {
		sql_rollback(s);
		return r;
	}
	s->in_transaction = false;
	return 0;
}

void sql_rollback(struct sql *s)
{
	if (s->in_transaction && !s->broken)
		s->backend->rollback(s);
	s->in_transaction = false;
	s->failed = (struct error){0};
}

int sql_savepoint(struct sql *s, struct error *err)
{
	int r = sql_failure(s, err);

	return r < 0 ? r : note(s, s->backend->savepoint(s, err), err);
}

int sql_release(struct sql *s, struct error *err)
{
	int r = sql_failure(s, err);

	return r < 0 ? r : note(s, s->backend->release(s, err), err);
}

int sql_undo(struct sql *s, struct error *err)
{
	struct error before = s->failed;
	int r;

	if (s->broken)
		return sql_failure(s, err);
	s->failed = (struct error){0};
	r = note(s, s->backend->undo(s, err), err);
	/* What made it fail says more than that it cannot be undone. */
	if (r < 0 && before.code < 0) {
		s->failed = before;
		return sql_failure(s, err);
	}
	return r;
}

int sql_count_tables(struct sql *s, const char *name, struct error *err)
{
	int64_t count = 0;
	int r = sql_get_number(s, err, &count, s->backend->tables, sql_text(name));

	return r < 0 ? r : (int)count;
}

static bool is_of_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Returns the length of the word that `text` begins with and is to be replaced, or 0. */
static size_t match_word(const struct sql_word *words, const char *text, const char **ret_becomes)
{
	for (; words && words->word; words++) {
		const char *after = str_after(text, words->word);

		if (after && !is_of_word(*after)) {
			*ret_becomes = words->becomes;
			return (size_t)(after - text);
		}
	}
	return 0;
}

static int translate(const struct sql_word *words, const char *text, size_t n, struct buffer *out)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0;) {
		const char *becomes;
		size_t length = i > 0 && is_of_word(text[i - 1])
					? 0
					: match_word(words, text + i, &becomes);

		if (length > 0)
			r = buffer_append(out, becomes, strlen(becomes));
		else
			r = buffer_append(out, text + i, 1);
		i += length > 0 ? length : 1;
	}
	return r < 0 ? r : buffer_append(out, "", 1);
}

int sql_script(struct sql *s, const char *text, struct error *err)
{
	while (*text) {
		struct buffer statement AUTO(buffer_done) = {0};
		const char *end = strstr(text, ";\n");
		size_t n = end ? (size_t)(end - text) : strlen(text);
		int r = translate(s->backend->words, text, n, &statement);

		if (r < 0)
			return fail(err, r, "out of memory");
		r = run(s, err, (const char *)statement.data, NULL, 0, false, NULL);
		if (r < 0)
			return r;
		text += n + (end ? 2 : 0);
	}
	return 0;
}
