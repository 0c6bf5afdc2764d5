#include "controller/event.h"

#include <errno.h>
#include <stdio.h>

#include "controller/statement.h"

static const struct listing_column columns[] = {
	{"sequence", "event.sequence", LISTING_NUMBER, false, "Its number; later ones are higher"},
	{"time", "event.time", LISTING_TIME, false, "When it happened"},
	{"kind", "event.kind", LISTING_TEXT, true, "What happened, as 'node.lost'"},
	{"subject", "event.subject", LISTING_TEXT, true, "What it happened to, as 'node:wn1'"},
	{"actor", "event.actor", LISTING_TEXT, true, "Who did it, as 'user:alice'"},
	{"detail", "event.detail_json", LISTING_JSON, false, "What else is known"},
	{.name = NULL},
};

const struct listing event_listing = {
	.noun = "event",
	.table = "event",
	.columns = columns,
};

/* What users see who do not administer the site: what becomes of nodes and of images for all, and
 * their own, of the newest; there is no index that would find a few among all. */
#define VISIBLE                                                                  \
	"(substr(event.kind, 1, 5) = 'node.' OR event.username = ? OR"           \
	" (substr(event.kind, 1, 6) = 'image.' AND event.username IS NULL)) AND" \
	" event.sequence > ("                                                    \
	"SELECT max(sequence) FROM event) - 50000"

int event_add(struct sql *db, uint64_t now_us, const char *kind, const char *subject,
	const char *actor, json_t *detail, struct error *err)
{
	autofree char *text = detail ? json_dumps(detail, JSON_COMPACT) : strdup("{}");
	autofree char *user = NULL;
	const char *about = json_string_value(json_object_get(detail, "user"));
	int r = text ? 0 : fail(err, -ENOMEM, "out of memory");

	if (about && !(user = strdup(about)))
		r = fail(err, -ENOMEM, "out of memory");
	json_decref(detail);
	if (r == 0)
		r = sql_change_later(db, err,
			"INSERT INTO event (sequence, time, kind, subject, actor, username,"
			" detail_json) VALUES ((SELECT coalesce(max(sequence), 0) + 1 FROM event),"
			" ?1, ?2, ?3, ?4, ?5, ?6)",
			sql_number((int64_t)now_us), sql_text(kind), sql_text(subject),
			sql_text(actor), sql_text(user), sql_text(text));
	return MIN_OF(r, 0);
}

const char *event_actor(const struct caller *caller, char text[EVENT_ACTOR_MAX])
{
	static const char *const kinds[] = {
		[CALLER_NOBODY] = "nobody:",
		[CALLER_NODE] = "node:",
		[CALLER_USER] = "user:",
	};

	snprintf(text, EVENT_ACTOR_MAX, "%s%s", kinds[caller->kind], caller->name);
	return text;
}

int event_get_last(struct sql *db, int64_t *ret, struct error *err)
{
	*ret = 0;
	return MIN_OF(
		sql_get_number(db, err, ret, "SELECT coalesce(max(sequence), 0) FROM event"), 0);
}

static bool sees_all(const struct caller *caller)
{
	return caller->roles & ROLE_ADMINISTRATOR;
}

/* A listing is what makes JSON of rows, so a request is made up for it. */
static int read_page(struct sql *db, const struct caller *caller, json_t *query, int64_t sequence,
	json_t **ret, struct error *err)
{
	static const struct route route = {.listing = &event_listing};
	struct exchange x = {.route = &route, .caller = *caller, .query = query};
	const struct listing_condition conditions[] = {
		{"event.sequence > ?", sql_number(sequence)},
		{sees_all(caller) ? NULL : VISIBLE, sql_text(caller->name)},
		{NULL},
	};
	int status = listing_run_with(&x, db, conditions);
	json_t *items = json_object_get(x.answer, "items");
	const char *reason = json_string_value(json_object_get(x.answer, "error"));

	*ret = items ? json_incref(items) : NULL;
	if (status >= 400 || !items)
		fail(err, status == 503 ? -ENOTCONN : -EIO, "cannot read events: %s",
			reason ? reason : "out of memory");
	json_decref(x.answer);
	return *ret ? 0 : err->code;
}

int event_read(struct sql *db, const struct caller *caller, const char *kinds, int64_t *sequence,
	int limit, json_t **ret, struct error *err)
{
	json_t *query = json_pack("{s:o, s:s*}", "limit", json_sprintf("%d", limit), "kind", kinds);
	struct error own = {0};
	int64_t last = 0, newest = 0;
	size_t count;
	int r = query ? event_get_last(db, &last, err) : fail(err, -ENOMEM, "out of memory");

	if (r == 0) {
		r = read_page(db, caller, query, *sequence, ret, &own);
		if (r < 0)
			fail(err, r, "%s", own.text);
	}
	json_decref(query);
	if (r < 0)
		return r;
	count = json_array_size(*ret);
	if (count > 0)
		newest = json_integer_value(
			json_object_get(json_array_get(*ret, count - 1), "sequence"));
	/* Of a page that is not full, all up to what there was before it are seen. */
	*sequence = MAX_OF(*sequence, count == (size_t)limit ? newest : MAX_OF(last, newest));
	return (int)count;
}

int event_prune(struct sql *db, uint64_t before_us, struct error *err)
{
	/* Numbers and times go up together, so the oldest are looked at only. */
	return sql_change(db, err,
		"DELETE FROM event WHERE sequence < (SELECT min(sequence) FROM event) + ?1"
		" AND sequence < (SELECT max(sequence) FROM event)"
		" AND (time < ?2 OR sequence <= (SELECT max(sequence) FROM event) - ?3)",
		sql_number(EVENT_PRUNE_MAX), sql_number((int64_t)before_us),
		sql_number(EVENT_KEEP_MAX));
}

static int run_list(struct exchange *x, struct sql *db)
{
	const struct listing_condition conditions[] = {
		{sees_all(&x->caller) ? NULL : VISIBLE, sql_text(x->caller.name)},
		{NULL},
	};

	return listing_run_with(x, db, conditions);
}

const struct route event_routes[] = {
	{"GET", "/v1/events", ROUTE_STREAM, ROLE_USER | ROLE_ADMINISTRATOR,
		"Lists what has happened, the oldest first, or tells it as it happens",
		.listing = &event_listing, .run = run_list},
	{.method = NULL},
};
