#include "controller/catalogue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "lib/timestamp.h"

/* How long a staged image is kept on its nodes whatever else they need. */
#define STAGED_US (UINT64_C(30) * 86400 * 1000000)

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

#define COLUMNS                                                                         \
	"SELECT digest, name, state, owner, private, expires, state_since, changed_by," \
	" reason, parts_json FROM image"

/* Of an image that nothing starts from any more it is enough to know why. */
static json_t *image_to_json(const struct sql_rows *rows, uint64_t now_us)
{
	int64_t expires = sql_rows_number(rows, 5), since = sql_rows_number(rows, 6);
	const char *state = sql_rows_text(rows, 2);
	bool ended = streq(state, "expired") || streq(state, "revoked");

	if (!ended && expires > 0 && (uint64_t)expires <= now_us) {
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

/* Adds what a statement gives to a list. Returns 0 or negative errno. */
static int add_images(struct sql_rows *rows, uint64_t now_us, json_t *images, struct error *err)
{
	int r;

	while ((r = sql_rows_next(rows, err)) > 0)
		if (json_array_append_new(images, image_to_json(rows, now_us)) < 0)
			return fail(err, -ENOMEM, "out of memory");
	return r;
}

static int list_images(struct exchange *x, struct sql *db, json_t *images, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sees_all(&x->caller)
			? sql_select(db, err, &rows, COLUMNS " ORDER BY digest")
			: sql_select(db, err, &rows,
				  COLUMNS " WHERE private = 0 OR owner = ?1 ORDER BY digest",
				  sql_text(x->caller.name));

	return r < 0 ? r : add_images(rows, x->now_us, images, err);
}

/* Those of private images are apart, so that nobody takes one for the site's. */
static int list_tags(
	struct exchange *x, struct sql *db, json_t *tags, json_t *private, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT name, tag, digest, owner FROM image_tag WHERE private = 0 OR owner = ?1"
		" OR ?2 = 1 ORDER BY reference",
		sql_text(x->caller.name), sql_number(sees_all(&x->caller)));

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

static int run(struct exchange *x, struct sql *db)
{
	json_t *answer =
		json_pack("{s:[], s:[], s:[], s:[]}", "images", "tags", "private_tags", "staged");
	struct error err = {0};
	int64_t revision;
	int r = answer ? get_revision(db, &revision, &err) : -ENOMEM;

	if (r == 0) {
		set_etag(x, revision);
		if (x->if_none_match && streq(x->if_none_match, x->etag)) {
			json_decref(answer);
			return exchange_answer_unchanged(x);
		}
		r = list_images(x, db, json_object_get(answer, "images"), &err);
	}
	if (r == 0)
		r = list_tags(x, db, json_object_get(answer, "tags"),
			json_object_get(answer, "private_tags"), &err);
	if (r == 0 && x->caller.kind == CALLER_NODE)
		r = list_staged(x, db, json_object_get(answer, "staged"), &err);
	if (r == 0 && json_object_set_new(answer, "revision", json_integer(revision)) == 0)
		return exchange_answer(x, 200, answer);
	json_decref(answer);
	return exchange_fail_sql(x, r < 0 ? r : -ENOMEM, &err);
}

const struct route catalogue_routes[] = {
	{"GET", "/v1/catalogue", ROUTE_READ,
		ROLE_NODE | ROLE_USER | ROLE_ENDORSER | ROLE_ADMINISTRATOR,
		"Tells which images there are, what VMs may start from, and what names stand for; "
		"with If-None-Match, only if that has changed",
		.run = run},
	{.method = NULL},
};
