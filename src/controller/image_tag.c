#include "controller/image_tag.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/image.h"
#include "controller/image_history.h"
#include "image/store.h"

/* "USER/NAME:TAG" */
#define REFERENCE_MAX (CALLER_NAME_MAX + (2 * IMAGE_WORD_MAX))

static const struct listing_column columns[] = {
	{"reference", "image_tag.reference", LISTING_TEXT, true,
		"'NAME:TAG', or 'USER/NAME:TAG' of a user's private images"},
	{"name", "image_tag.name", LISTING_TEXT, true, "Its name"},
	{"tag", "image_tag.tag", LISTING_TEXT, true, "Its tag"},
	{"owner", "image_tag.owner", LISTING_TEXT, true, "The user; '': it is the site's"},
	{"digest", "image_tag.digest", LISTING_TEXT, true, "The image that it stands for"},
	{"previous", "image_tag.previous", LISTING_TEXT, true,
		"What it stood for before; null: nothing"},
	{"moved", "image_tag.moved", LISTING_TIME, false, "Since when"},
	{"moved_by", "image_tag.moved_by", LISTING_TEXT, true, "Who has made it so"},
	{"revision", "image_tag.revision", LISTING_NUMBER, false, "Its ETag"},
	{.name = NULL},
};

const struct listing image_tag_listing = {
	.noun = "tag",
	.table = "image_tag",
	.columns = columns,
	.revision = "image_tag.revision",
};

struct wish {
	char digest[DIGEST_HEX_SIZE];
	char reason[IMAGE_REASON_MAX];
};

static const struct field wish_fields[] = {
	{"digest", FIELD_DIGEST, offsetof(struct wish, digest), 0, 0, true, NULL,
		"The image that it is to stand for"},
	{"reason", FIELD_TEXT, offsetof(struct wish, reason), 0, IMAGE_REASON_MAX, false, NULL,
		"Why; it is kept for ever"},
	{.name = NULL},
};

/* A reference, taken apart. */
struct reference {
	char owner[CALLER_NAME_MAX]; /* "": the site's */
	char *name, *tag;            /* owned */
};

static void reference_done(struct reference *r)
{
	free(r->name);
	free(r->tag);
}

int image_tag_check(struct exchange *x, const char *name, const char *tag)
{
	struct reference unused AUTO(reference_done) = {0};
	char text[2 * IMAGE_WORD_MAX];
	struct error err = {0};

	snprintf(text, sizeof(text), "%s:%s", name, tag);
	if (store_parse_reference(text, &unused.name, &unused.tag, &err) < 0)
		return exchange_fail(x, 400, "%s", err.text);
	return 0;
}

static int parse(struct exchange *x, const char *text, struct reference *ret)
{
	const char *slash = strchr(text, '/');
	struct error err = {0};

	if (slash)
		snprintf(ret->owner, sizeof(ret->owner), "%.*s", (int)(slash - text), text);
	if (slash == text)
		return exchange_fail(x, 400, "'%.100s' has no user before the '/'", text);
	if (store_parse_reference(slash ? slash + 1 : text, &ret->name, &ret->tag, &err) < 0)
		return exchange_fail(x, 400, "%s", err.text);
	return 0;
}

static const char *format(
	const char *owner, const char *name, const char *tag, char text[REFERENCE_MAX])
{
	snprintf(text, REFERENCE_MAX, "%s%s%s:%s", owner, owner[0] ? "/" : "", name, tag);
	return text;
}

/* What a tag stands for. Returns 1 with a new text, 0 if there is none, or negative errno. */
static int get_digest(struct sql *db, const char *reference, char **ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows, "SELECT digest FROM image_tag WHERE reference = ?1",
		sql_text(reference));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	*ret = strdup(sql_rows_text(rows, 0));
	return *ret ? 1 : fail(err, -ENOMEM, "out of memory");
}

int image_tag_set(struct exchange *x, struct sql *db, const char *name, const char *tag,
	const char *digest, bool private, const char *reason, struct error *err)
{
	const char *owner = private ? x->caller.name : "";
	autofree char *before = NULL;
	char reference[REFERENCE_MAX];
	struct image_change change = {.action = "tagged",
		.digest = digest,
		.name = name,
		.reason = reason,
		.owner = private ? owner : NULL};
	int r;

	change.reference = format(owner, name, tag, reference);
	r = get_digest(db, reference, &before, err);
	if (r < 0 || (before && streq(before, digest)))
		return MIN_OF(r, 0);
	r = sql_change(db, err,
		"INSERT INTO image_tag (reference, name, tag, owner, private, digest, previous,"
		" moved, moved_by, revision) VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7, ?8, 1)"
		" ON CONFLICT (reference) DO UPDATE SET previous = image_tag.digest,"
		" digest = excluded.digest, moved = excluded.moved, moved_by = excluded.moved_by,"
		" revision = image_tag.revision + 1",
		sql_text(reference), sql_text(name), sql_text(tag), sql_text(owner),
		sql_number(private), sql_text(digest), sql_number((int64_t)x->now_us),
		sql_text(x->caller.name));
	if (r < 0)
		return r;
	change.detail = json_pack("{s:s?}", "before", before);
	r = image_history_add(x, db, x->now_us, &change, err);
	return r < 0 ? r : 1;
}

static bool sees_all(const struct caller *c)
{
	return c->kind == CALLER_NODE || (c->roles & (ROLE_ENDORSER | ROLE_ADMINISTRATOR));
}

/* Whose tag it is may change it; the site's are its administrators'. Returns 0, or 403 with the
 * error said. */
static int check_rights(struct exchange *x, const struct reference *r)
{
	if (x->caller.roles & ROLE_ADMINISTRATOR)
		return 0;
	if (r->owner[0] && x->caller.kind == CALLER_USER && streq(r->owner, x->caller.name))
		return 0;
	return r->owner[0]
		       ? exchange_fail(x, 403, "tag '%.100s' is not yours", x->params[0])
		       : exchange_fail(x, 403,
				 "tags of the site are set by its administrators; yours is '%.100s/%s:%s'",
				 x->caller.name, r->name, r->tag);
}

/* May it stand for this image? Returns 0, or the status with the error said. */
static int check_image(struct exchange *x, const struct reference *r, json_t *image)
{
	const char *state = json_string_value(json_object_get(image, "state"));
	const char *owner = json_string_value(json_object_get(image, "owner"));
	bool private = json_is_true(json_object_get(image, "private"));

	if (!state || !streq(state, "approved"))
		return exchange_fail(x, 409,
			"the image is %s; a tag is given to one that VMs may start from", state);
	if (private && (!owner || !streq(owner, r->owner)))
		return exchange_fail(x, 409,
			"the image is private; have it endorsed and approved for all first");
	return 0;
}

static int answer(struct exchange *x, struct sql *db, int status)
{
	struct error err = {0};
	char reference[REFERENCE_MAX];
	struct reference ref AUTO(reference_done) = {0};
	int64_t revision;
	json_t *row;
	int r = parse(x, x->params[0], &ref);

	if (r > 0)
		return r;
	r = listing_get(db, &image_tag_listing, format(ref.owner, ref.name, ref.tag, reference),
		&row, &revision, &err);
	if (r <= 0)
		return exchange_fail_sql(x, r < 0 ? r : -EIO, &err);
	exchange_set_etag(x, revision);
	return exchange_answer(x, status, row);
}

/* Of a tag that is there, If-Match says that nobody else has moved it meanwhile. */
static int check_match(struct exchange *x, struct sql *db, const char *reference)
{
	struct error err = {0};
	int64_t revision = 0;
	int r = x->if_match ? sql_get_number(db, &err, &revision,
				      "SELECT revision FROM image_tag WHERE reference = ?1",
				      sql_text(reference))
			    : 0;

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return x->if_match ? exchange_check_match(x, revision) : 0;
}

static int run_put(struct exchange *x, struct sql *db)
{
	struct reference ref AUTO(reference_done) = {0};
	struct wish w = {0};
	struct error err = {0};
	char text[REFERENCE_MAX];
	int64_t revision;
	json_t *image = NULL;
	int r, status = body_parse(x, &w);

	if (status == 0)
		status = parse(x, x->params[0], &ref);
	if (status == 0)
		status = check_rights(x, &ref);
	if (status == 0 && ref.owner[0] && !streq(ref.owner, x->caller.name))
		status = exchange_fail(x, 403, "tag '%.100s' is not yours", x->params[0]);
	if (status == 0)
		status = image_find(x, db, w.digest, &image, &revision);
	if (status == 0)
		status = check_image(x, &ref, image);
	if (status == 0)
		status = check_match(x, db, format(ref.owner, ref.name, ref.tag, text));
	json_decref(image);
	if (status)
		return status;
	r = image_tag_set(x, db, ref.name, ref.tag, w.digest, ref.owner[0], w.reason, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : answer(x, db, 200);
}

static int forget(struct exchange *x, struct sql *db, const struct reference *ref,
	const char *reference, struct error *err)
{
	const char *reason = exchange_query(x, "reason");
	autofree char *digest = NULL;
	struct image_change change = {.action = "untagged",
		.name = ref->name,
		.reference = reference,
		.reason = reason ? reason : "",
		.owner = ref->owner[0] ? ref->owner : NULL};
	int r = get_digest(db, reference, &digest, err);

	if (r <= 0)
		return r;
	change.digest = digest;
	r = sql_change(db, err, "DELETE FROM image_tag WHERE reference = ?1", sql_text(reference));
	return r < 0 ? r : image_history_add(x, db, x->now_us, &change, err);
}

static int run_delete(struct exchange *x, struct sql *db)
{
	struct reference ref AUTO(reference_done) = {0};
	struct error err = {0};
	char text[REFERENCE_MAX];
	int r, status = parse(x, x->params[0], &ref);

	if (status == 0)
		status = check_rights(x, &ref);
	if (status == 0)
		status = check_match(x, db, format(ref.owner, ref.name, ref.tag, text));
	if (status)
		return status;
	r = forget(x, db, &ref, text, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
}

static int run_list(struct exchange *x, struct sql *db)
{
	const struct listing_condition conditions[] = {
		{sees_all(&x->caller) ? NULL : "(image_tag.private = 0 OR image_tag.owner = ?)",
			sql_text(x->caller.name)},
		{NULL},
	};

	return listing_run_with(x, db, conditions);
}

static const struct route_query delete_queries[] = {
	{"reason", "Why; it is kept for ever", QUERY_TEXT},
	{.name = NULL},
};

#define READERS (ROLE_USER | ROLE_NODE | ROLE_ENDORSER | ROLE_ADMINISTRATOR)
#define WRITERS (ROLE_USER | ROLE_ADMINISTRATOR)

const struct route image_tag_routes[] = {
	{"GET", "/v1/tags", ROUTE_READ, READERS, "Lists what names stand for",
		.listing = &image_tag_listing, .run = run_list},
	{"GET", "/v1/tags/{reference}", ROUTE_READ, READERS, "Shows what a name stands for",
		.listing = &image_tag_listing, .one = true, .run = run_list},
	{"PUT", "/v1/tags/{reference}", ROUTE_WRITE, WRITERS,
		"Has a name stand for another image; the one before stays good until it expires",
		.body = wish_fields, .listing = &image_tag_listing, .one = true, .run = run_put},
	{"DELETE", "/v1/tags/{reference}", ROUTE_WRITE, WRITERS,
		"Takes a name away; the image stays", .queries = delete_queries, .run = run_delete},
	{.method = NULL},
};
