#include "controller/node_image.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/event.h"
#include "controller/image.h"
#include "controller/staging.h"
#include "lib/digest.h"

#define IMAGES_MAX  2048
#define ADDRESS_MAX 256
#define RACK_MAX    65
#define PER_MILLE   1000

static const struct listing_column node_columns[] = {
	{"digest", "node_image.digest", LISTING_TEXT, true, "The image"},
	{"name", "(SELECT name FROM image WHERE image.digest = node_image.digest)", LISTING_TEXT,
		false, "Its name"},
	{"state", "node_image.state", LISTING_TEXT, true, "complete, fetching or failed"},
	{"done", "node_image.done", LISTING_NUMBER, false, "How much of it is there, per mille"},
	{"reason", "node_image.reason", LISTING_TEXT, false, "Why it has failed"},
	{"updated", "node_image.updated", LISTING_TIME, false, "When that last changed"},
	{.name = NULL},
};

static const struct listing of_node_listing = {
	.noun = "image of a node",
	.table = "node_image",
	.columns = node_columns,
};

static const struct listing_column image_columns[] = {
	{"node", "node_image.node", LISTING_TEXT, true, "The node"},
	{"state", "node_image.state", LISTING_TEXT, true, "complete, fetching or failed"},
	{"done", "node_image.done", LISTING_NUMBER, false, "How much of it is there, per mille"},
	{"reason", "node_image.reason", LISTING_TEXT, false, "Why it has failed"},
	{"updated", "node_image.updated", LISTING_TIME, false, "When that last changed"},
	{.name = NULL},
};

static const struct listing of_image_listing = {
	.noun = "node of an image",
	.table = "node_image",
	.columns = image_columns,
};

struct told {
	char address[ADDRESS_MAX], rack[RACK_MAX];
	json_t *images;
};

/* Others are sent there. */
static int check_address(const char *text, struct error *err)
{
	const char *host = str_after(text, "https://");

	if (host && *host &&
		strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "0123456789.-:[]") == strlen(host))
		return 0;
	return fail(err, -EINVAL, "not as https://HOST:PORT");
}

static const struct field told_fields[] = {
	{"address", FIELD_TEXT, offsetof(struct told, address), 0, ADDRESS_MAX, false, NULL,
		"Where others get chunks from it, https://HOST:PORT; '': nowhere", check_address},
	{"rack", FIELD_TEXT, offsetof(struct told, rack), 0, RACK_MAX, false, NULL,
		"What it is near to: those of the same rack are named first"},
	{"images", FIELD_LIST, offsetof(struct told, images), 0, IMAGES_MAX, true, NULL,
		"All that it has or fetches: digest, state (complete, fetching, failed), done "
		"(0 to 1), reason"},
	{.name = NULL},
};

struct item {
	char digest[DIGEST_HEX_SIZE], state[16], reason[IMAGE_REASON_MAX];
	int64_t done; /* per mille */
};

static const struct field item_fields[] = {
	{"digest", FIELD_DIGEST, offsetof(struct item, digest), 0, 0, true, NULL, NULL},
	{"state", FIELD_WORD, offsetof(struct item, state), 0, 0, true, "complete|fetching|failed",
		NULL},
	{"reason", FIELD_TEXT, offsetof(struct item, reason), 0, IMAGE_REASON_MAX, false, NULL,
		NULL},
	{.name = NULL},
};

static int parse_item(json_t *told, struct item *ret, struct error *err)
{
	double done = json_number_value(json_object_get(told, "done"));
	int r = fields_parse(item_fields, told, ret, err);

	if (r < 0)
		return fail_within(err, "an image");
	if (streq(ret->state, "complete"))
		done = 1;
	ret->done = done > 0 && done <= 1 ? (int64_t)(done * PER_MILLE) : 0;
	return 0;
}

static int check_node(struct exchange *x)
{
	return streq(x->caller.name, x->params[0])
		       ? 0
		       : exchange_fail(x, 403, "node '%s' speaks for itself, not for '%.128s'",
				 x->caller.name, x->params[0]);
}

/* The same as before changes one row. Returns 1 if it is, 0 or negative errno. */
static int note_quickly(struct exchange *x, struct sql *db, const char *digest, struct error *err)
{
	return sql_change(db, err, "UPDATE porter SET seen = ?3 WHERE node = ?1 AND told = ?2",
		sql_text(x->caller.name), sql_text(digest), sql_number((int64_t)x->now_us));
}

static int note_porter(struct exchange *x, struct sql *db, const struct told *told,
	const char *digest, struct error *err)
{
	return sql_change(db, err,
		"INSERT INTO porter (node, address, rack, told, seen) VALUES (?1, ?2, ?3, ?4, ?5)"
		" ON CONFLICT (node) DO UPDATE SET address = excluded.address,"
		" rack = excluded.rack, told = excluded.told, seen = excluded.seen",
		sql_text(x->caller.name), sql_text(told->address), sql_text(told->rack),
		sql_text(digest), sql_number((int64_t)x->now_us));
}

/* Of the images that the catalogue knows; others are the node's own affair. */
static int note_item(struct exchange *x, struct sql *db, const struct item *i, struct error *err)
{
	return sql_change(db, err,
		"INSERT INTO node_image (node, digest, state, done, reason, updated)"
		" SELECT CAST(?1 AS TEXT), digest, CAST(?3 AS TEXT), CAST(?4 AS BIGINT),"
		" CAST(?5 AS TEXT), CAST(?6 AS BIGINT) FROM image WHERE digest = ?2"
		" ON CONFLICT (node, digest) DO UPDATE SET updated = CASE WHEN"
		" node_image.state = excluded.state AND node_image.done = excluded.done"
		" THEN node_image.updated ELSE excluded.updated END, state = excluded.state,"
		" done = excluded.done, reason = excluded.reason",
		sql_text(x->caller.name), sql_text(i->digest), sql_text(i->state),
		sql_number(i->done), sql_text(i->reason), sql_number((int64_t)x->now_us));
}

/* Adds the digests of what the node has no more. Returns 0 or negative errno. */
static int find_gone(
	struct exchange *x, struct sql *db, json_t *there, json_t *gone, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows, "SELECT digest FROM node_image WHERE node = ?1",
		sql_text(x->caller.name));

	while (r >= 0 && (r = sql_rows_next(rows, err)) > 0)
		if (!json_object_get(there, sql_rows_text(rows, 0)) &&
			json_array_append_new(gone, json_string(sql_rows_text(rows, 0))) < 0)
			return fail(err, -ENOMEM, "out of memory");
	return r;
}

static int forget_gone(struct exchange *x, struct sql *db, json_t *there, struct error *err)
{
	json_t *gone = json_array(), *digest;
	int r = gone ? find_gone(x, db, there, gone, err) : fail(err, -ENOMEM, "out of memory");
	size_t i;

	json_array_foreach(gone, i, digest) if (r >= 0) r =
		sql_change(db, err, "DELETE FROM node_image WHERE node = ?1 AND digest = ?2",
			sql_text(x->caller.name), sql_text(json_string_value(digest)));
	json_decref(gone);
	return MIN_OF(r, 0);
}

/* Returns 0, -EINVAL if one is wrong, or another negative errno. */
static int note_images(
	struct exchange *x, struct sql *db, json_t *images, json_t *there, struct error *err)
{
	json_t *told;
	size_t i;
	int r = 0;

	json_array_foreach(images, i, told)
	{
		struct item item = {0};

		if (parse_item(told, &item, err) < 0)
			return -EINVAL;
		r = note_item(x, db, &item, err);
		if (r < 0)
			return r == -EINVAL ? -EIO : r;
		if (json_object_set_new(there, item.digest, json_null()) < 0)
			return fail(err, -ENOMEM, "out of memory");
	}
	return forget_gone(x, db, there, err);
}

static int note(struct exchange *x, struct sql *db, const struct told *told, struct error *err)
{
	autofree char *text = json_dumps(x->body, JSON_COMPACT | JSON_SORT_KEYS);
	json_t *there = json_object();
	char digest[DIGEST_HEX_SIZE];
	int r = 0;

	if (!text || !there || digest_bytes(text, strlen(text), digest) < 0)
		r = fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = note_quickly(x, db, digest, err);
	if (r == 0) {
		r = note_images(x, db, told->images, there, err);
		if (r == 0)
			r = note_porter(x, db, told, digest, err);
		if (r >= 0)
			r = staging_note_node(db, x->caller.name, x->now_us, err);
	}
	json_decref(there);
	return MIN_OF(r, 0);
}

static int run_put(struct exchange *x, struct sql *db)
{
	struct told told = {0};
	struct error err = {0};
	int r, status = body_parse(x, &told);

	if (status == 0)
		status = check_node(x);
	if (status)
		return status;
	r = note(x, db, &told, &err);
	if (r == -EINVAL)
		return exchange_fail(x, 400, "%s", err.text);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
}

static int run_of_node(struct exchange *x, struct sql *db)
{
	const struct listing_condition conditions[] = {
		{"node_image.node = ?", sql_text(x->params[0])},
		{NULL},
	};
	int status = x->caller.kind == CALLER_NODE ? check_node(x) : 0;

	return status ? status : listing_run_with(x, db, conditions);
}

static int run_of_image(struct exchange *x, struct sql *db)
{
	const struct listing_condition conditions[] = {
		{"node_image.digest = ?", sql_text(x->params[0])},
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

int node_image_forget(struct sql *db, const char *node, struct error *err)
{
	static const char *const texts[] = {
		"DELETE FROM node_image WHERE node = ?1",
		"DELETE FROM porter WHERE node = ?1",
		"DELETE FROM peer_report WHERE node = ?1 OR peer = ?1",
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(texts) && r >= 0; i++)
		r = sql_change(db, err, texts[i], sql_text(node));
	return MIN_OF(r, 0);
}

#define READERS (ROLE_NODE | ROLE_GROUP_ADMIN | ROLE_ADMINISTRATOR)

const struct route node_image_routes[] = {
	{"PUT", "/v1/nodes/{name}/images", ROUTE_WRITE, ROLE_NODE,
		"Tells which images a node has and fetches, and how others get them from it",
		.body = told_fields, .run = run_put},
	{"GET", "/v1/nodes/{name}/images", ROUTE_READ, READERS,
		"Lists the catalogue's images that a node has", .listing = &of_node_listing,
		.run = run_of_node},
	{"GET", "/v1/images/{digest}/nodes", ROUTE_READ,
		ROLE_USER | ROLE_ENDORSER | ROLE_ADMINISTRATOR,
		"Lists the nodes that have an image", .listing = &of_image_listing,
		.run = run_of_image},
	{.method = NULL},
};
