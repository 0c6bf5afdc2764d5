#include "controller/statement.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

/* How many texts are kept; further ones are used once. */
#define KEPT_MAX 256

void statement_done(struct statement *s)
{
	strv_done(&s->copies);
}

void statement_add(struct statement *s, const char *format, ...)
{
	size_t room = sizeof(s->text) - s->used;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(s->text + s->used, room, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= room)
		s->failed = true;
	else
		s->used += (size_t)n;
}

void statement_add_where(struct statement *s)
{
	statement_add(s, s->where ? " AND " : " WHERE ");
	s->where = true;
}

void statement_add_value(struct statement *s, struct sql_value value)
{
	if (s->count == STATEMENT_VALUES_MAX) {
		s->failed = true;
		return;
	}
	s->values[s->count++] = value;
	statement_add(s, "?%zu", s->count);
}

void statement_add_copy(struct statement *s, const char *text)
{
	strv_add(&s->copies, text);
	if (s->copies.failed)
		s->failed = true;
	else
		statement_add_value(s, sql_text(s->copies.items[s->copies.count - 1]));
}

void statement_add_condition(struct statement *s, const char *text, struct sql_value value)
{
	size_t before = strcspn(text, "?");

	statement_add_where(s);
	statement_add(s, "%.*s", (int)before, text);
	if (!text[before])
		return;
	statement_add_value(s, value);
	statement_add(s, "%s", text + before + 1);
}

static size_t hash(const char *text)
{
	uint32_t sum = 2166136261u;

	for (; *text; text++)
		sum = (sum ^ (unsigned char)*text) * 16777619u;
	return sum;
}

/* The same text at an address that stays, by which a connection knows it; NULL: there is no room.
 * Threads do not wait for each other. */
static const char *keep(const char *text)
{
	static _Atomic(char *) kept[KEPT_MAX];
	size_t start = hash(text);

	for (size_t i = 0; i < KEPT_MAX; i++) {
		_Atomic(char *) *slot = &kept[(start + i) % KEPT_MAX];
		char *there = atomic_load(slot), *copy;

		if (!there) {
			copy = strdup(text);
			if (!copy)
				return NULL;
			if (atomic_compare_exchange_strong(slot, &there, copy))
				return copy;
			free(copy);
		}
		if (streq(there, text))
			return there;
	}
	return NULL;
}

/* Returns 0 with *ret_kept, which is NULL for a statement that is used once. */
static int check(const struct statement *s, const char **ret_kept, struct error *err)
{
	if (s->failed)
		return fail(err, -E2BIG, "too much is asked at once; ask for less");
	*ret_kept = s->once ? NULL : keep(s->text);
	return 0;
}

int statement_change(struct statement *s, struct sql *db, struct error *err)
{
	const char *kept = NULL;
	int r = check(s, &kept, err);

	if (r < 0)
		return r;
	return kept ? sql_change_values(db, err, kept, s->values, s->count)
		    : sql_change_once(db, err, s->text, s->values, s->count);
}

int statement_select(struct statement *s, struct sql *db, struct sql_rows **ret, struct error *err)
{
	const char *kept = NULL;
	int r = check(s, &kept, err);

	if (r < 0)
		return r;
	return kept ? sql_select_values(db, err, ret, kept, s->values, s->count)
		    : sql_select_once(db, err, ret, s->text, s->values, s->count);
}
