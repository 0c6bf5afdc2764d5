#include "controller/catalogue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "controller/controller.h"
#include "controller/edition.h"
#include "lib/path.h"
#include "lib/timestamp.h"

/* How long a staged image is kept on its nodes whatever else they need. */
#define STAGED_US (UINT64_C(30) * 86400 * 1000000)

/* Images that have ended, of which it is told why: those of a year or more at most sites. Who
 * starts from an older one is told that it has ended, and finds the rest in its history. */
#define ENDED_TOLD 500

/* As many as a node takes; those of images that have ended long ago are left out. */
#define TAGS_MAX 10000

int catalogue_touch(struct sql *db, struct error *err)
{
	int r = sql_change(db, err,
		"INSERT INTO site (name, value) VALUES ('catalogue', '1') ON CONFLICT (name)"
		" DO UPDATE SET value = CAST(CAST(site.value AS BIGINT) + 1 AS TEXT)");

	return MIN_OF(r, 0);
}

static json_t *time_to_json(int64_t us)
{
	char text[TIMESTAMP_TEXT_SIZE];

	return us > 0 ? json_string(timestamp_format((uint64_t)us, text)) : json_null();
}

static bool sees_all(const struct caller *c)
{
	return c->kind == CALLER_NODE || (c->roles & (ROLE_ENDORSER | ROLE_ADMINISTRATOR));
}

#define ENDED "CASE WHEN state IN ('expired', 'revoked') THEN 1 ELSE 0 END"
#define COLUMNS                                                                           \
	"SELECT digest, name, state, owner, private, expires, state_since, changed_by,"   \
	" reason, CASE WHEN state IN ('expired', 'revoked') THEN '' ELSE parts_json END," \
	" " ENDED " FROM image"
/* What has ended comes last, and of that what has done so first. */
#define ORDER " ORDER BY " ENDED ", state_since DESC, digest"

static json_t *image_to_json(const struct sql_rows *rows, uint64_t now_us)
{
	int64_t expires = sql_rows_number(rows, 5), since = sql_rows_number(rows, 6);
	const char *state = sql_rows_text(rows, 2);
	bool ended = false;

	if (expires > 0 && (uint64_t)expires <= now_us) {
		ended = true;
		state = "expired";
		since = expires;
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:s, s:s, s:o*}", "digest",
		sql_rows_text(rows, 0), "name", sql_rows_text(rows, 1), "state", state, "owner",
		sql_rows_text(rows, 3), "private", sql_rows_number(rows, 4) != 0, "expires",
		time_to_json(expires), "since", time_to_json(since), "by", sql_rows_text(rows, 7),
		"reason", sql_rows_text(rows, 8), "parts",
		ended ? NULL : json_loads(sql_rows_text(rows, 9), 0, NULL));
}

/* Of an image that nothing starts from any more it is enough to know why. */
static json_t *ended_to_json(const struct sql_rows *rows)
{
	bool private = sql_rows_number(rows, 4) != 0;

	return json_pack("{s:s, s:s, s:s, s:s*, s:o*, s:o, s:s, s:s}", "digest",
		sql_rows_text(rows, 0), "name", sql_rows_text(rows, 1), "state",
		sql_rows_text(rows, 2), "owner", private ? sql_rows_text(rows, 3) : NULL, "private",
		private ? json_true() : NULL, "since", time_to_json(sql_rows_number(rows, 6)), "by",
		sql_rows_text(rows, 7), "reason", sql_rows_text(rows, 8));
}

/* Of those that have ended long ago it is enough to know that. */
static int add_bare(const struct sql_rows *rows, json_t *bare)
{
	const char *state = sql_rows_text(rows, 2);
	json_t *list = json_object_get(bare, state);

	if (!list && json_object_set_new(bare, state, json_array()) < 0)
		return -1;
	return json_array_append_new(
		json_object_get(bare, state), json_string(sql_rows_text(rows, 0)));
}

/* Adds what a statement gives. Returns 0 or negative errno. */
static int add_images(struct sql_rows *rows, uint64_t now_us, json_t *answer, struct error *err)
{
	json_t *images = json_object_get(answer, "images");
	size_t ended = 0;
	int r;

	while ((r = sql_rows_next(rows, err)) > 0) {
		bool has_ended = sql_rows_number(rows, 10) != 0;

		ended += has_ended;
		if (ended > ENDED_TOLD ? add_bare(rows, json_object_get(answer, "ended")) < 0
				       : json_array_append_new(images,
						 has_ended ? ended_to_json(rows)
							   : image_to_json(rows, now_us)) < 0)
			return fail(err, -ENOMEM, "out of memory");
	}
	return r;
}

static int list_images(struct exchange *x, struct sql *db, json_t *answer, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sees_all(&x->caller) ? sql_select(db, err, &rows, COLUMNS ORDER)
				     : sql_select(db, err, &rows,
					       COLUMNS " WHERE private = 0 OR owner = ?1" ORDER,
					       sql_text(x->caller.name));

	return r < 0 ? r : add_images(rows, x->now_us, answer, err);
}

/* Those of private images are apart, so that nobody takes one for the site's. */
static int list_tags(
	struct exchange *x, struct sql *db, json_t *tags, json_t *private, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT t.name, t.tag, t.digest, t.owner FROM image_tag t JOIN image ON image.digest"
		" = t.digest WHERE t.private = 0 OR t.owner = ?1 OR ?2 = 1"
		" ORDER BY " ENDED ", t.moved DESC, t.reference LIMIT ?3",
		sql_text(x->caller.name), sql_number(sees_all(&x->caller)), sql_number(TAGS_MAX));

	while (r >= 0 && (r = sql_rows_next(rows, err)) > 0) {
		const char *owner = sql_rows_text(rows, 3);

		if (json_array_append_new(owner[0] ? private : tags,
			    json_pack("{s:s, s:s, s:s, s:s*}", "name", sql_rows_text(rows, 0),
				    "tag", sql_rows_text(rows, 1), "digest", sql_rows_text(rows, 2),
				    "owner", owner[0] ? owner : NULL)) < 0)
			return fail(err, -ENOMEM, "out of memory");
	}
	return r;
}

/* What a node is to have at hand before anybody asks for it. */
static int list_staged(struct exchange *x, struct sql *db, json_t *staged, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT DISTINCT staging.digest FROM staging_node JOIN staging"
		" ON staging.id = staging_node.staging JOIN image"
		" ON image.digest = staging.digest WHERE staging_node.node = ?1"
		" AND staging_node.state IN ('fetching', 'done')"
		" AND staging.state IN ('running', 'done') AND staging.created > ?2"
		" AND image.state = 'approved' AND (image.expires = 0 OR image.expires > ?3)",
		sql_text(x->caller.name), sql_number((int64_t)(x->now_us - STAGED_US)),
		sql_number((int64_t)x->now_us));

	while (r >= 0 && (r = sql_rows_next(rows, err)) > 0)
		if (json_array_append_new(staged, json_string(sql_rows_text(rows, 0))) < 0)
			return fail(err, -ENOMEM, "out of memory");
	return r;
}

static int get_revision(struct sql *db, int64_t *ret, struct error *err)
{
	*ret = 0;
	return MIN_OF(sql_get_number(db, err, ret,
			      "SELECT CAST(value AS BIGINT) FROM site WHERE name = 'catalogue'"),
		0);
}

/* What users see depends on who they are. */
static void set_etag(struct exchange *x, int64_t revision)
{
	exchange_set_etag(x, revision);
	if (x->caller.kind != CALLER_NODE)
		snprintf(x->etag, sizeof(x->etag), "%" PRId64 ".%x", revision, x->caller.roles);
}

/* All but what is one node's own. */
static int list_all(struct exchange *x, struct sql *db, json_t *answer, struct error *err)
{
	int r = list_images(x, db, answer, err);

	return r < 0 ? r
		     : list_tags(x, db, json_object_get(answer, "tags"),
			       json_object_get(answer, "private_tags"), err);
}

static json_t *answer_new(int64_t revision)
{
	return json_pack("{s:I, s:[], s:{}, s:[], s:[]}", "revision", (json_int_t)revision,
		"images", "ended", "tags", "private_tags");
}

static int answer_user(struct exchange *x, struct sql *db, int64_t revision)
{
	json_t *answer = answer_new(revision);
	struct error err = {0};
	int r = answer ? list_all(x, db, answer, &err) : -ENOMEM;

	if (r == 0 && json_object_set_new(answer, "staged", json_array()) == 0)
		return exchange_answer(x, 200, answer);
	json_decref(answer);
	return exchange_fail_sql(x, r < 0 ? r : -ENOMEM, &err);
}

/* The text that all nodes get. Returns a reference, or NULL. */
static struct edition *get_edition(
	struct exchange *x, struct sql *db, int64_t revision, struct error *err)
{
	struct editions *editions = x->controller->editions;
	struct edition *e = editions_find(editions, revision);
	json_t *answer = e ? NULL : answer_new(revision);
	char *text = NULL;

	if (answer && list_all(x, db, answer, err) == 0)
		text = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	return text ? editions_add(editions, revision, text) : e;
}

static int answer_node(struct exchange *x, struct sql *db, int64_t revision)
{
	struct edition *e AUTO(edition_unrefp) = NULL;
	json_t *staged = json_array();
	autofree char *list = NULL;
	struct error err = {0};
	int r = staged ? list_staged(x, db, staged, &err) : -ENOMEM;

	if (r == 0) {
		e = get_edition(x, db, revision, &err);
		list = json_dumps(staged, JSON_COMPACT);
		r = e && list ? 0 : err.code < 0 ? err.code : -ENOMEM;
	}
	json_decref(staged);
	if (r == 0)
		r = exchange_answer_edition(x, path_format("{\"staged\":%s,", list), e);
	return r < 0 ? exchange_fail_sql(x, r, &err) : r;
}

static int run(struct exchange *x, struct sql *db)
{
	struct error err = {0};
	int64_t revision;
	int r = get_revision(db, &revision, &err);

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	set_etag(x, revision);
	if (x->if_none_match && streq(x->if_none_match, x->etag))
		return exchange_answer_unchanged(x);
	return x->caller.kind == CALLER_NODE ? answer_node(x, db, revision)
					     : answer_user(x, db, revision);
}

const struct route catalogue_routes[] = {
	{"GET", "/v1/catalogue", ROUTE_READ,
		ROLE_NODE | ROLE_USER | ROLE_ENDORSER | ROLE_ADMINISTRATOR,
		"Tells which images there are, what VMs may start from, and what names stand for; "
		"with If-None-Match, only if that has changed",
		.run = run},
	{.method = NULL},
};
