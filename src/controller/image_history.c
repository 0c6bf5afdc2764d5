#include "controller/image_history.h"

#include <errno.h>
#include <stdio.h>

#include "controller/catalogue.h"
#include "controller/event.h"
#include "controller/image.h"

#define KIND_MAX    32
#define SUBJECT_MAX 192

static const struct listing_column columns[] = {
	{"sequence", "image_history.sequence", LISTING_NUMBER, false,
		"Its number; later ones are higher"},
	{"time", "image_history.time", LISTING_TIME, false, "When"},
	{"action", "image_history.action", LISTING_TEXT, true,
		"What: published, endorsed, approved, expired, revoked, tagged, untagged"},
	{"digest", "image_history.digest", LISTING_TEXT, true, "The image"},
	{"name", "image_history.name", LISTING_TEXT, true, "The image's name"},
	{"reference", "image_history.reference", LISTING_TEXT, true,
		"The tag that it is about, as 'el9:2026-11'; null: about none"},
	{"actor", "image_history.actor", LISTING_TEXT, true, "Who, as 'user:alice'"},
	{"reason", "image_history.reason", LISTING_TEXT, false, "Why"},
	{"detail", "image_history.detail_json", LISTING_JSON, false, "What else is known"},
	{.name = NULL},
};

const struct listing image_history_listing = {
	.noun = "line of the history",
	.table = "image_history",
	.columns = columns,
};

/* The event's detail: what is in the line, and whom it is about where not all may see it. */
static json_t *detail_of(const struct image_change *c)
{
	json_t *detail = json_pack("{s:s, s:s, s:s*, s:s, s:s*}", "digest", c->digest, "name",
		c->name, "reference", c->reference, "reason", c->reason, "user", c->owner);

	if (detail && c->detail)
		json_object_update_missing(detail, c->detail);
	return detail;
}

static int add_event(struct sql *db, uint64_t now_us, const struct image_change *c,
	const char *actor, struct error *err)
{
	char kind[KIND_MAX], subject[SUBJECT_MAX];

	snprintf(kind, sizeof(kind), "image.%s", c->action);
	snprintf(subject, sizeof(subject), "image:%s", c->digest);
	return event_add(db, now_us, kind, subject, actor, detail_of(c), err);
}

int image_history_add(const struct exchange *x, struct sql *db, uint64_t now_us,
	const struct image_change *c, struct error *err)
{
	autofree char *detail = c->detail ? json_dumps(c->detail, JSON_COMPACT) : strdup("{}");
	char text[EVENT_ACTOR_MAX];
	const char *actor = c->actor ? c->actor : event_actor(&x->caller, text);
	int r = detail ? 0 : fail(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = sql_change(db, err,
			"INSERT INTO image_history (sequence, time, action, digest, name,"
			" reference, actor, reason, username, detail_json) VALUES"
			" ((SELECT coalesce(max(sequence), 0) + 1 FROM image_history), ?1, ?2, ?3,"
			" ?4, ?5, ?6, ?7, ?8, ?9)",
			sql_number((int64_t)now_us), sql_text(c->action), sql_text(c->digest),
			sql_text(c->name), sql_text(c->reference), sql_text(actor),
			sql_text(c->reason), sql_text(c->owner), sql_text(detail));
	if (r >= 0)
		r = add_event(db, now_us, c, actor, err);
	if (r >= 0)
		r = catalogue_touch(db, err);
	json_decref(c->detail);
	return MIN_OF(r, 0);
}

static bool sees_all(const struct caller *c)
{
	return c->roles & (ROLE_ENDORSER | ROLE_ADMINISTRATOR);
}

/* What users see: that of images for all, and of their own. */
#define VISIBLE "(image_history.username IS NULL OR image_history.username = ?)"

static int run_list(struct exchange *x, struct sql *db)
{
	const struct listing_condition conditions[] = {
		{sees_all(&x->caller) ? NULL : VISIBLE, sql_text(x->caller.name)},
		{NULL},
	};

	return listing_run_with(x, db, conditions);
}

static int run_image(struct exchange *x, struct sql *db)
{
	const struct listing_condition conditions[] = {
		{"image_history.digest = ?", sql_text(x->params[0])},
		{sees_all(&x->caller) ? NULL : VISIBLE, sql_text(x->caller.name)},
		{NULL},
	};
	int64_t revision;
	json_t *image;
	int status = image_find(x, db, x->params[0], &image, &revision);

	if (status)
		return status;
	json_decref(image);
	return listing_run_with(x, db, conditions);
}

#define READERS (ROLE_USER | ROLE_ENDORSER | ROLE_ADMINISTRATOR)

const struct route image_history_routes[] = {
	{"GET", "/v1/history", ROUTE_READ, READERS,
		"Lists all that has become of images, the oldest first",
		.listing = &image_history_listing, .run = run_list},
	{"GET", "/v1/images/{digest}/history", ROUTE_READ, READERS,
		"Lists all that has become of an image, the oldest first",
		.listing = &image_history_listing, .run = run_image},
	{.method = NULL},
};
