#include "controller/migrate.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "controller/schema.h"
#include "sql/sql.h"

/* Rows that are read at once, and those that one statement writes; a statement may have 32,766
 * parameters. */
#define PAGE_ROWS  1000
#define WRITE_ROWS 100

#define COLUMNS_MAX 100
#define KEYS_MAX    2

#define TEXT_MAX 1024 /* of a statement that reads */

/* All of them, with the columns by which their rows are told apart. */
static const struct table {
	const char *name, *keys[KEYS_MAX];
} tables[] = {
	{"site", {"name"}},
	{"hostgroup", {"name"}},
	{"role", {"id"}},
	{"token", {"id"}},
	{"certificate", {"serial"}},
	{"node", {"name"}},
	{"vm", {"id"}},
	{"job", {"key"}},
	{"pool", {"name"}},
	{"place", {"pool", "number"}},
	{"lease", {"id"}},
	{"record", {"sequence"}},
	{"event", {"sequence"}},
	{"configuration", {"scope"}},
	{"image", {"digest"}},
	{"image_tag", {"reference"}},
	{"image_history", {"sequence"}},
	{"porter", {"node"}},
	{"node_image", {"node", "digest"}},
	{"peer_report", {"peer", "node"}},
	{"staging", {"id"}},
	{"staging_node", {"staging", "node"}},
	{"volume", {"id"}},
	{"volume_store", {"node"}},
	{"attachment", {"id"}},
};

struct migrate {
	struct sql *from, *to;
	migrate_progress_fn progress;
	void *userdata;
};

/* Copied rows of a table, by columns. */
struct rows {
	const struct table *table;
	char *names[COLUMNS_MAX];
	size_t columns, count;
	struct sql_value *values; /* of PAGE_ROWS rows, one after the other */
};

static void rows_clear(struct rows *r)
{
	for (size_t i = 0; i < r->count * r->columns; i++)
		if (r->values[i].type == SQL_TEXT)
			free((char *)(uintptr_t)r->values[i].text);
	r->count = 0;
}

static void rows_done(struct rows *r)
{
	rows_clear(r);
	for (size_t i = 0; i < r->columns; i++)
		free(r->names[i]);
	free(r->values);
}

static int rows_init(struct rows *r, const struct sql_rows *rows)
{
	int columns = sql_rows_count(rows);

	assert(columns > 0 && columns <= COLUMNS_MAX);
	r->values = calloc(PAGE_ROWS * (size_t)columns, sizeof(*r->values));
	if (!r->values)
		return -ENOMEM;
	for (; r->columns < (size_t)columns; r->columns++) {
		r->names[r->columns] = strdup(sql_rows_name(rows, (int)r->columns));
		if (!r->names[r->columns])
			return -ENOMEM;
	}
	return 0;
}

static int copy_value(const struct sql_rows *rows, int column, struct sql_value *ret)
{
	char *text;

	*ret = sql_null();
	if (sql_rows_is_null(rows, column))
		return 0;
	if (sql_rows_is_number(rows, column)) {
		*ret = sql_number(sql_rows_number(rows, column));
		return 0;
	}
	text = strdup(sql_rows_text(rows, column));
	if (!text)
		return -ENOMEM;
	*ret = sql_text(text);
	return 0;
}

static int rows_add(struct rows *r, const struct sql_rows *rows)
{
	int code = r->columns == 0 ? rows_init(r, rows) : 0;
	struct sql_value *row = code == 0 ? &r->values[r->count * r->columns] : NULL;

	for (size_t i = 0; i < r->columns && code == 0; i++)
		code = copy_value(rows, (int)i, &row[i]);
	if (code < 0)
		return code;
	r->count++;
	return 0;
}

/* Where the last row that was read is among all. Returns how many keys there are. */
static size_t get_keys(const struct rows *r, struct sql_value *ret)
{
	size_t n = 0;

	for (; n < KEYS_MAX && r->table->keys[n]; n++)
		for (size_t i = 0; i < r->columns; i++)
			if (streq(r->names[i], r->table->keys[n]))
				ret[n] = r->values[(r->count - 1) * r->columns + i];
	return n;
}

static const char *read_text(const struct table *t, bool first, char text[TEXT_MAX])
{
	bool two = t->keys[1];
	char keys[256];

	snprintf(keys, sizeof(keys), "%s%s%s", t->keys[0], two ? ", " : "", two ? t->keys[1] : "");
	snprintf(text, TEXT_MAX, "SELECT * FROM %s %s%s%s ORDER BY %s LIMIT %d", t->name,
		first ? "" : "WHERE (", first ? "" : keys,
		first ? ""
		: two ? ") > (?1, ?2)"
		      : ") > (?1)",
		keys, PAGE_ROWS);
	return text;
}

/* The rows after those that `r` has, instead of them. */
static int read_page(struct sql *db, struct rows *r, bool first, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	struct sql_value keys[KEYS_MAX];
	char text[TEXT_MAX];
	size_t count = first ? 0 : get_keys(r, keys);
	int code = sql_select_once(db, err, &rows, read_text(r->table, first, text), keys, count);

	if (code < 0)
		return code;
	/* PostgreSQL has sent them all, SQLite has them still to read: the keys are copied. */
	rows_clear(r);
	while ((code = sql_rows_next(rows, err)) > 0)
		if (rows_add(r, rows) < 0)
			return fail(err, -ENOMEM, "out of memory");
	return code;
}

/* A new text, or NULL when out of memory. */
static char *write_text(const struct rows *r, size_t count)
{
	char *text = NULL;
	size_t size, parameter = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fprintf(out, "INSERT INTO %s (", r->table->name);
	for (size_t i = 0; i < r->columns; i++)
		fprintf(out, "%s%s", i ? ", " : "", r->names[i]);
	fputs(") VALUES ", out);
	for (size_t row = 0; row < count; row++) {
		fputs(row ? ", (" : "(", out);
		for (size_t i = 0; i < r->columns; i++)
			fprintf(out, "%s?%zu", i ? ", " : "", ++parameter);
		fputc(')', out);
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static int write_rows(
	struct sql *db, const struct rows *r, size_t from, size_t count, struct error *err)
{
	autofree char *text = write_text(r, count);
	int code;

	if (!text)
		return fail(err, -ENOMEM, "out of memory");
	code = sql_change_once(db, err, text, &r->values[from * r->columns], count * r->columns);
	return MIN_OF(code, 0);
}

static int write_page(struct sql *db, const struct rows *r, struct error *err)
{
	int code = 0;

	for (size_t i = 0; i < r->count && code == 0; i += WRITE_ROWS)
		code = write_rows(db, r, i, MIN_OF(r->count - i, (size_t)WRITE_ROWS), err);
	return code;
}

static int count_rows(struct sql *db, const struct table *t, int64_t *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	char text[TEXT_MAX];
	int r;

	snprintf(text, sizeof(text), "SELECT count(*) FROM %s", t->name);
	r = sql_select_once(db, err, &rows, text, NULL, 0);
	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r < 0)
		return r;
	*ret = sql_rows_number(rows, 0);
	return 0;
}

static int check_count(struct migrate *m, const struct table *t, int64_t copied, struct error *err)
{
	int64_t from, to;
	int r = count_rows(m->from, t, &from, err);

	if (r == 0)
		r = count_rows(m->to, t, &to, err);
	if (r < 0)
		return r;
	if (from != to || to != copied)
		return fail(err, -EIO,
			"table '%s': there are %" PRId64 " rows, %" PRId64
			" were copied, and %" PRId64
			" have arrived; nothing was changed in the new database",
			t->name, from, copied, to);
	return 0;
}

static int copy_table(struct migrate *m, const struct table *t, struct error *err)
{
	struct rows rows AUTO(rows_done) = {.table = t};
	int64_t copied = 0;
	int r;

	do {
		r = read_page(m->from, &rows, copied == 0, err);
		if (r == 0)
			r = write_page(m->to, &rows, err);
		copied += (int64_t)rows.count;
		if (r == 0 && m->progress)
			m->progress(t->name, copied, m->userdata);
	} while (r == 0 && rows.count == PAGE_ROWS);
	return r < 0 ? r : check_count(m, t, copied, err);
}

static int check_from(struct migrate *m, struct error *err)
{
	int version = schema_find(m->from, err);

	if (version < 0)
		return fail_within(err, "the old database");
	if (version == 0)
		return fail(err, -ENOENT,
			"the old database is empty; a controller makes what it needs in the new "
			"one by itself");
	if (version != schema_version())
		return fail(err, -EPROTO,
			"the old database's tables are of version %d, not %d; start this "
			"wnodes-controller with it once, or use the one that made it",
			version, schema_version());
	assert(sql_count_tables(m->from, NULL, NULL) == ARRAY_SIZE(tables));
	return 0;
}

static int check_empty(struct migrate *m, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		int64_t rows;
		int r = count_rows(m->to, &tables[i], &rows, err);

		if (r < 0)
			return r;
		if (rows > 0)
			return fail(err, -ENOTEMPTY,
				"the new database is not empty (table '%s'); name another, or "
				"remove what is in it",
				tables[i].name);
	}
	return 0;
}

/* With the tables, and nothing in them. */
static int check_to(struct migrate *m, struct error *err)
{
	int version = schema_find(m->to, err), r;

	if (version < 0)
		return fail_within(err, "the new database");
	if (version != 0 && version != schema_version())
		return fail(err, -EPROTO,
			"the new database has tables of version %d, not %d; name an empty one",
			version, schema_version());
	r = schema_make(m->to, err);
	if (r == 0) /* which comes with all others */
		r = sql_change(m->to, err, "DELETE FROM site WHERE name = 'schema'");
	return r < 0 ? r : check_empty(m, err);
}

static int copy_all(struct migrate *m, struct error *err)
{
	int r = sql_begin_patient(m->from, err);

	if (r == 0)
		r = check_from(m, err);
	if (r == 0)
		r = sql_begin_patient(m->to, err);
	if (r == 0)
		r = check_to(m, err);
	for (size_t i = 0; i < ARRAY_SIZE(tables) && r == 0; i++)
		r = copy_table(m, &tables[i], err);
	if (r == 0)
		r = sql_commit(m->to, err);
	sql_rollback(m->to);
	sql_rollback(m->from);
	return r;
}

/* Opening would make it. */
static int check_there(const char *url, struct error *err)
{
	const char *path = str_after(url, "sqlite:");

	if (path && access(path, F_OK) < 0)
		return fail_errno(err, -errno, "the old database '%s'", path);
	return 0;
}

int migrate_run(const char *from, const char *to, migrate_progress_fn progress, void *userdata,
	struct error *err)
{
	struct sql *old AUTO(sql_freep) = NULL, *new AUTO(sql_freep) = NULL;
	struct migrate m = {.progress = progress, .userdata = userdata};
	int r;

	if (streq(from, to))
		return fail(err, -EINVAL, "the old and the new database are the same");
	r = check_there(from, err);
	if (r == 0)
		r = sql_open(from, &old, err);
	if (r == 0)
		r = sql_open(to, &new, err);
	m.from = old;
	m.to = new;
	return r < 0 ? r : copy_all(&m, err);
}
