#include "controller/image.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/controller.h"
#include "controller/image_history.h"
#include "controller/image_parts.h"
#include "controller/image_tag.h"
#include "controller/upload.h"
#include "lib/timestamp.h"

/* A manifest says in some hundred bytes what an image is. */
#define MANIFEST_MAX (UINT64_C(256) << 10)

static const struct listing_column columns[] = {
	{"digest", "image.digest", LISTING_TEXT, true, "SHA-256 of its manifest"},
	{"name", "image.name", LISTING_TEXT, true, "Its name"},
	{"tag", "image.tag", LISTING_TEXT, true,
		"The tag that it gets when it is approved; '': none"},
	{"state", "image.state", LISTING_TEXT, true,
		"pending, endorsed, approved, expired or revoked"},
	{"private", "image.private", LISTING_BOOL, true, "Whether it is for its owner only"},
	{"owner", "image.owner", LISTING_TEXT, true, "Who has published it"},
	{"os", "image.os", LISTING_TEXT, true, "What is in it, as it says itself"},
	{"size", "image.size", LISTING_NUMBER, false, "Bytes of all its parts"},
	{"parts", "image.parts_json", LISTING_JSON, false,
		"Its files: kind, digest, size, and the SHA-256 of the file's index"},
	{"published", "image.published", LISTING_TIME, false, "When it was published"},
	{"endorsed_by", "image.endorsed_by", LISTING_TEXT, true, "Who has endorsed it"},
	{"endorsed", "image.endorsed", LISTING_TIME, false, "When"},
	{"approved_by", "image.approved_by", LISTING_TEXT, true, "Who has approved it"},
	{"approved", "image.approved", LISTING_TIME, false, "When"},
	{"expires", "image.expires", LISTING_TIME, false, "Until when it is good; null: for ever"},
	{"state_since", "image.state_since", LISTING_TIME, false,
		"Since when its state is this one"},
	{"changed_by", "image.changed_by", LISTING_TEXT, true, "Who has made it so"},
	{"reason", "image.reason", LISTING_TEXT, false, "Why"},
	{"revision", "image.revision", LISTING_NUMBER, false, "Its ETag"},
	{.name = NULL},
};

const struct listing image_listing = {
	.noun = "image",
	.table = "image",
	.columns = columns,
	.revision = "image.revision",
};

struct wish {
	char digest[DIGEST_HEX_SIZE];
	char name[IMAGE_WORD_MAX], tag[IMAGE_WORD_MAX];
	char state[16], reason[IMAGE_REASON_MAX];
	const char *manifest;
	json_t *parts;
	bool private;
	uint64_t expires_us;
};

#define FIELD(name, type, member, max, required, words, help)                            \
	{                                                                                \
		name, type, offsetof(struct wish, member), 0, max, required, words, help \
	}

static const struct field wish_fields[] = {
	FIELD("digest", FIELD_DIGEST, digest, 0, true, NULL, "SHA-256 of its manifest"),
	FIELD("name", FIELD_TEXT, name, IMAGE_WORD_MAX, true, NULL, "Its name, as 'el9'"),
	FIELD("tag", FIELD_TEXT, tag, IMAGE_WORD_MAX, false, NULL,
		"The tag that it is to get when it is approved"),
	FIELD("manifest", FIELD_LINES, manifest, MANIFEST_MAX, true, NULL,
		"Its manifest, byte by byte"),
	FIELD("parts", FIELD_LIST, parts, MANIFEST_PARTS_MAX, true, NULL,
		"Its files: kind (disk, kernel, initrd), digest, size, index (SHA-256 of the "
		"file's index)"),
	FIELD("private", FIELD_BOOL, private, 0, false, NULL,
		"Whether it is for its owner only; whoever is no endorser has no others"),
	FIELD("state", FIELD_WORD, state, 0, false, "pending|endorsed",
		"endorsed: an endorser vouches for it at once"),
	FIELD("expires", FIELD_TIME, expires_us, 0, false, NULL,
		"Until when it is good; not there: for ever"),
	FIELD("reason", FIELD_TEXT, reason, IMAGE_REASON_MAX, false, NULL, "Why"),
	{.name = NULL},
};

/* Between the moment at which an image expires and that at which it is written down, it is what it
 * is. */
static void set_state(const struct exchange *x, json_t *image)
{
	const char *state = json_string_value(json_object_get(image, "state"));
	const char *expires = json_string_value(json_object_get(image, "expires"));
	uint64_t us;

	if (!state || streq(state, "revoked") || streq(state, "expired") || !expires ||
		timestamp_parse(expires, &us) < 0 || us > x->now_us)
		return;
	json_object_set_new(image, "state", json_string("expired"));
	json_object_set(image, "state_since", json_object_get(image, "expires"));
}

static bool sees_all(const struct caller *c)
{
	return c->kind == CALLER_NODE || (c->roles & (ROLE_ENDORSER | ROLE_ADMINISTRATOR));
}

bool image_is_visible(const struct caller *c, json_t *image)
{
	const char *owner = json_string_value(json_object_get(image, "owner"));

	return sees_all(c) || !json_is_true(json_object_get(image, "private")) ||
	       (c->kind == CALLER_USER && owner && streq(owner, c->name));
}

int image_find(
	struct exchange *x, struct sql *db, const char *digest, json_t **ret, int64_t *revision)
{
	struct error err = {0};
	json_t *image = NULL;
	int r = listing_get(db, &image_listing, digest, &image, revision, &err);

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r > 0 && image_is_visible(&x->caller, image)) {
		set_state(x, image);
		*ret = image;
		return 0;
	}
	json_decref(image);
	return exchange_fail(x, 404,
		"there is no image '%.64s' that you may see; GET /v1/images lists them", digest);
}

int image_answer(struct exchange *x, struct sql *db, int status, const char *digest)
{
	json_t *image;
	int64_t revision;
	int failed = image_find(x, db, digest, &image, &revision);

	if (failed)
		return failed;
	exchange_set_etag(x, revision);
	return exchange_answer(x, status, image);
}

/* Images of one's own have a limit: all that are not expired or revoked. Returns 0, or the status
 * with the error said. */
static int check_quota(struct exchange *x, struct sql *db, uint64_t size)
{
	const struct controller_settings *s = controller_get_settings(x->controller);
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	struct error err = {0};
	uint64_t count, bytes;
	int r = sql_select(db, &err, &rows,
		"SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT) FROM image"
		" WHERE owner = ?1 AND private = 1 AND state NOT IN ('expired', 'revoked')",
		sql_text(x->caller.name));

	if (r == 0)
		r = sql_rows_next(rows, &err);
	if (r <= 0)
		return exchange_fail_sql(x, r < 0 ? r : -EIO, &err);
	count = (uint64_t)sql_rows_number(rows, 0);
	bytes = (uint64_t)sql_rows_number(rows, 1);
	if (count >= s->private_images)
		return exchange_fail(x, 403,
			"you have %d private images already, and may have %d; expire one first, or "
			"ask an administrator for more (private_images)",
			(int)count, (int)s->private_images);
	if (bytes + size > s->private_size)
		return exchange_fail(x, 403,
			"with this one your private images had %d MiB, and you may have %d; expire "
			"one first, or ask an administrator for more (private_size)",
			(int)((bytes + size) >> 20), (int)(s->private_size >> 20));
	return 0;
}

/* Whether the nodes' catalogue has room for one more. Returns 0, or the status with the error said.
 */
static int check_room(struct exchange *x, struct sql *db)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	struct error err = {0};
	int r = sql_select(db, &err, &rows,
		"SELECT count(*), coalesce(sum(CASE WHEN state IN ('expired', 'revoked') THEN 0"
		" ELSE 1 END), 0) FROM image");

	if (r == 0)
		r = sql_rows_next(rows, &err);
	if (r <= 0)
		return exchange_fail_sql(x, r < 0 ? r : -EIO, &err);
	if (sql_rows_number(rows, 1) >= IMAGE_LIVE_MAX)
		return exchange_fail(x, 409,
			"the site has %d images that are neither expired nor revoked, which is as "
			"many as nodes keep in mind; expire some (`wnodes image expire`)",
			IMAGE_LIVE_MAX);
	if (sql_rows_number(rows, 0) >= IMAGE_MAX)
		return exchange_fail(x, 409,
			"the site has had %d images, which is as many as nodes keep in mind, and none is "
			"ever forgotten; new ones need a new database",
			IMAGE_MAX);
	return 0;
}

/* Who publishes what. Returns 0, or the status with the error said. */
static int check_rights(struct exchange *x, const struct wish *w)
{
	const unsigned int roles = x->caller.roles;

	if (!w->private && !(roles & (ROLE_ENDORSER | ROLE_ADMINISTRATOR)))
		return exchange_fail(x, 403,
			"an image for all is published by endorsers and administrators; yours may be "
			"private, and be endorsed later");
	if (streq(w->state, "endorsed") && !(roles & (ROLE_ENDORSER | ROLE_ADMINISTRATOR)))
		return exchange_fail(x, 403,
			"an image is published as endorsed by endorsers and administrators");
	if (w->private && w->state[0])
		return exchange_fail(x, 400, "a private image has no 'state' of your choice");
	if (w->expires_us > 0 && w->expires_us <= x->now_us)
		return exchange_fail(x, 400, "'expires' has passed already");
	return 0;
}

/* The same request again, or an image that is there already. */
static int answer_again(struct exchange *x, const struct wish *w, json_t *image)
{
	const char *name = json_string_value(json_object_get(image, "name"));

	if (!image_is_visible(&x->caller, image))
		return exchange_fail(x, 409,
			"image '%.64s' cannot be published by you; ask an endorser to do it",
			w->digest);
	if (!streq(name, w->name))
		return exchange_fail(x, 409,
			"image '%.64s' is known already, as '%s'; give it a tag instead", w->digest,
			name);
	set_state(x, image);
	exchange_set_etag(x, json_integer_value(json_object_get(image, "revision")));
	return exchange_answer(x, 200, json_incref(image));
}

static int insert(struct exchange *x, struct sql *db, const struct wish *w, const char *os,
	uint64_t size, struct error *err)
{
	bool endorsed = streq(w->state, "endorsed");
	const char *state = w->private ? "approved" : endorsed ? "endorsed" : "pending";
	autofree char *parts = json_dumps(w->parts, JSON_COMPACT);
	int64_t now = (int64_t)x->now_us;

	if (!parts)
		return fail(err, -ENOMEM, "out of memory");
	return sql_change(db, err,
		"INSERT INTO image (digest, name, tag, state, private, owner, os, size, parts_json,"
		" published, endorsed_by, endorsed, approved_by, approved, expires, state_since,"
		" changed_by, reason, revision) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,"
		" ?11, ?12, '', 0, ?13, ?10, ?6, ?14, 1)",
		sql_text(w->digest), sql_text(w->name), sql_text(w->tag), sql_text(state),
		sql_number(w->private), sql_text(x->caller.name), sql_text(os),
		sql_number((int64_t)size), sql_text(parts), sql_number(now),
		sql_text(endorsed ? x->caller.name : ""), sql_number(endorsed ? now : 0),
		sql_number((int64_t)w->expires_us), sql_text(w->reason));
}

static int publish(
	struct exchange *x, struct sql *db, const struct wish *w, const char *os, uint64_t size)
{
	struct image_change change = {
		.action = "published",
		.digest = w->digest,
		.name = w->name,
		.reason = w->reason,
		.owner = w->private ? x->caller.name : NULL,
	};
	struct error err = {0};
	int r = insert(x, db, w, os, size, &err);

	if (r >= 0)
		r = image_history_add(x, db, x->now_us, &change, &err);
	if (r >= 0 && streq(w->state, "endorsed")) {
		change.action = "endorsed";
		r = image_history_add(x, db, x->now_us, &change, &err);
	}
	if (r >= 0 && w->private && w->tag[0])
		r = image_tag_set(x, db, w->name, w->tag, w->digest, true, w->reason, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : image_answer(x, db, 201, w->digest);
}

/* All that can be said without the database. Returns 0, or the status with the error said. */
static int check(struct exchange *x, struct wish *ret, char os[IMAGE_OS_MAX], uint64_t *size)
{
	struct error err = {0};
	int status = body_parse(x, ret);

	if (status == 0)
		status = image_tag_check(x, ret->name, ret->tag[0] ? ret->tag : "latest");
	if (status == 0)
		status = check_rights(x, ret);
	if (status == 0 &&
		image_parts_check(ret->digest, ret->manifest, ret->parts, os, size, &err) < 0)
		status =
			exchange_fail(x, 400, "the image is not as it is said to be: %s", err.text);
	return status;
}

/* What nodes could not get is not published. */
static int prepare_post(struct exchange *x)
{
	struct wish w = {0};
	char os[IMAGE_OS_MAX];
	uint64_t size;
	int status = check(x, &w, os, &size);

	return status ? status : upload_finish(x, w.manifest, w.parts);
}

static int run_post(struct exchange *x, struct sql *db)
{
	struct wish w = {0};
	struct error err = {0};
	char os[IMAGE_OS_MAX];
	json_t *image = NULL;
	uint64_t size = 0;
	int r, status = check(x, &w, os, &size);

	if (status)
		return status;
	r = listing_get(db, &image_listing, w.digest, &image, NULL, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r > 0) {
		status = answer_again(x, &w, image);
		json_decref(image);
		return status;
	}
	status = w.private ? check_quota(x, db, size) : 0;
	if (status == 0)
		status = check_room(x, db);
	return status ? status : publish(x, db, &w, os, size);
}

static int run_list(struct exchange *x, struct sql *db)
{
	const struct listing_condition conditions[] = {
		{sees_all(&x->caller) ? NULL : "(image.private = 0 OR image.owner = ?)",
			sql_text(x->caller.name)},
		{NULL},
	};
	int status = listing_run_with(x, db, conditions);
	json_t *image;
	size_t i;

	if (status == 200 && x->route->one)
		set_state(x, x->answer);
	json_array_foreach(json_object_get(x->answer, "items"), i, image) set_state(x, image);
	return status;
}

#define READERS    (ROLE_USER | ROLE_NODE | ROLE_ENDORSER | ROLE_ADMINISTRATOR)
#define PUBLISHERS (ROLE_USER | ROLE_ENDORSER | ROLE_ADMINISTRATOR)

const struct route image_routes[] = {
	{"GET", "/v1/images", ROUTE_READ, READERS, "Lists the site's images",
		.listing = &image_listing, .run = run_list},
	{"GET", "/v1/images/{digest}", ROUTE_READ, READERS, "Shows an image",
		.listing = &image_listing, .one = true, .run = run_list},
	{"POST", "/v1/images", ROUTE_WRITE, PUBLISHERS, "Publishes an image", .body = wish_fields,
		.listing = &image_listing, .one = true, .prepare = prepare_post, .run = run_post},
	{.method = NULL},
};
