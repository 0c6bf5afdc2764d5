#include "controller/staging.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/event.h"
#include "controller/image.h"
#include "controller/staging_wave.h"
#include "lib/uuid.h"

#define WAVE_DEFAULT  16
#define WAVE_MAX      10000
#define REFERENCE_MAX (2 * IMAGE_WORD_MAX)

#define COUNT(state)                                                                 \
	"(SELECT count(*) FROM staging_node WHERE staging_node.staging = staging.id" \
	" AND staging_node.state = '" state "')"

static const struct listing_column columns[] = {
	{"id", "staging.id", LISTING_TEXT, true, "Its id, of the client's choice"},
	{"digest", "staging.digest", LISTING_TEXT, true, "The image"},
	{"reference", "staging.reference", LISTING_TEXT, true, "What it was asked for as"},
	{"group", "staging.hostgroup", LISTING_TEXT, true, "The host group; '': all nodes"},
	{"wave", "staging.wave", LISTING_NUMBER, false, "How many nodes fetch it at a time"},
	{"state", "staging.state", LISTING_TEXT, true, "running, done or cancelled"},
	{"waiting", COUNT("waiting"), LISTING_NUMBER, false, "Nodes that are still to begin"},
	{"fetching", COUNT("fetching"), LISTING_NUMBER, false, "Nodes that fetch it"},
	{"done", COUNT("done"), LISTING_NUMBER, false, "Nodes that have it"},
	{"failed", COUNT("failed"), LISTING_NUMBER, false, "Nodes that could not get it"},
	{"reason", "staging.reason", LISTING_TEXT, false, "Why"},
	{"created_by", "staging.created_by", LISTING_TEXT, true, "Who has asked for it"},
	{"created", "staging.created", LISTING_TIME, false, "When"},
	{"ended", "staging.ended", LISTING_TIME, false, "When the last node was through"},
	{"revision", "staging.revision", LISTING_NUMBER, false, "Its ETag"},
	{.name = NULL},
};

const struct listing staging_listing = {
	.noun = "staging",
	.table = "staging",
	.columns = columns,
	.revision = "staging.revision",
};

static const struct listing_column node_columns[] = {
	{"node", "staging_node.node", LISTING_TEXT, true, "The node"},
	{"state", "staging_node.state", LISTING_TEXT, true, "waiting, fetching, done or failed"},
	{"reason", "staging_node.reason", LISTING_TEXT, false, "Why it has failed"},
	{"since", "staging_node.since", LISTING_TIME, false, "Since when"},
	{.name = NULL},
};

static const struct listing node_listing_of = {
	.noun = "node of a staging",
	.table = "staging_node",
	.columns = node_columns,
};

struct wish {
	char id[UUID_TEXT_SIZE], digest[DIGEST_HEX_SIZE];
	char reference[REFERENCE_MAX], group[BODY_NAME_MAX], reason[IMAGE_REASON_MAX];
	uint64_t wave;
};

#define FIELD(name, type, member, min, max, required, help)                               \
	{                                                                                 \
		name, type, offsetof(struct wish, member), min, max, required, NULL, help \
	}

static const struct field wish_fields[] = {
	FIELD("id", FIELD_ID, id, 0, 0, true, "Its id, of the client's choice"),
	FIELD("digest", FIELD_DIGEST, digest, 0, 0, true, "The image"),
	FIELD("reference", FIELD_TEXT, reference, 0, REFERENCE_MAX, false,
		"What it was asked for as, as 'el9:latest'"),
	FIELD("group", FIELD_TEXT, group, 0, BODY_NAME_MAX, false,
		"The host group; not there: all nodes"),
	FIELD("wave", FIELD_NUMBER, wave, 1, WAVE_MAX, false, "How many nodes fetch it at a time"),
	FIELD("reason", FIELD_TEXT, reason, 0, IMAGE_REASON_MAX, false, "Why"),
	{.name = NULL},
};

static int answer(struct exchange *x, struct sql *db, int status, const char *id)
{
	struct error err = {0};
	int64_t revision;
	json_t *row;
	int r = listing_get(db, &staging_listing, id, &row, &revision, &err);

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0)
		return exchange_fail(x, 404, "there is no staging '%.64s'", id);
	exchange_set_etag(x, revision);
	return exchange_answer(x, status, row);
}

/* May the caller have nodes of the group fetch something, and is there such a group? Returns 0, or
 * the status with the error said. */
static int check_group(struct exchange *x, struct sql *db, const char *group)
{
	struct error err = {0};
	int64_t there;
	int r;

	if (!caller_administers(&x->caller, group[0] ? group : NULL))
		return exchange_fail(x, 403, "%s%.64s%s", group[0] ? "host group '" : "",
			group[0] ? group : "all nodes of the site",
			group[0] ? "' is not yours to administer"
				 : " are staged to by its administrators; name your host group");
	if (!group[0])
		return 0;
	r = sql_get_number(
		db, &err, &there, "SELECT 1 FROM hostgroup WHERE name = ?1", sql_text(group));
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return r > 0 ? 0 : exchange_fail(x, 404, "there is no host group '%s'", group);
}

static int check_image(struct exchange *x, struct sql *db, const char *digest)
{
	const char *state;
	int64_t revision;
	json_t *image;
	int status = image_find(x, db, digest, &image, &revision);

	if (status)
		return status;
	state = json_string_value(json_object_get(image, "state"));
	if (!state || !streq(state, "approved"))
		status = exchange_fail(x, 409,
			"image '%.12s' is %s; only one that VMs may start from is staged", digest,
			state);
	else if (json_is_true(json_object_get(image, "private")))
		status = exchange_fail(x, 409,
			"image '%.12s' is private; it is fetched where its owner runs", digest);
	json_decref(image);
	return status;
}

static int insert(struct exchange *x, struct sql *db, const struct wish *w, struct error *err)
{
	int r = sql_change(db, err,
		"INSERT INTO staging (id, digest, reference, hostgroup, wave, reason, state,"
		" created_by, created, ended, revision) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'running',"
		" ?7, ?8, 0, 1)",
		sql_text(w->id), sql_text(w->digest), sql_text(w->reference), sql_text(w->group),
		sql_number((int64_t)w->wave), sql_text(w->reason), sql_text(x->caller.name),
		sql_number((int64_t)x->now_us));

	if (r < 0)
		return r;
	/* Those that have it already are done, those that are not heard of have failed. */
	return sql_change(db, err,
		"INSERT INTO staging_node (staging, node, state, reason, since)"
		" SELECT CAST(?1 AS TEXT), name, CASE WHEN EXISTS (SELECT 1 FROM node_image i"
		" WHERE i.node = node.name AND i.digest = ?2 AND i.state = 'complete') THEN 'done'"
		" WHEN state NOT IN ('up', 'drained') THEN 'failed' ELSE 'waiting' END,"
		" CASE WHEN state NOT IN ('up', 'drained') THEN 'the node is ' || state ELSE ''"
		" END, CAST(?3 AS BIGINT) FROM node WHERE ?4 = '' OR hostgroup = ?4",
		sql_text(w->id), sql_text(w->digest), sql_number((int64_t)x->now_us),
		sql_text(w->group));
}

static int make(struct exchange *x, struct sql *db, const struct wish *w)
{
	char actor[EVENT_ACTOR_MAX], subject[UUID_TEXT_SIZE + 16];
	struct error err = {0};
	int count = insert(x, db, w, &err), r = count;

	snprintf(subject, sizeof(subject), "staging:%s", w->id);
	if (r >= 0)
		r = event_add(db, x->now_us, "staging.started", subject,
			event_actor(&x->caller, actor),
			json_pack("{s:s, s:s, s:s, s:i}", "digest", w->digest, "reference",
				w->reference, "group", w->group, "nodes", count),
			&err);
	if (r >= 0)
		r = staging_advance(db, w->id, x->now_us, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : answer(x, db, 201, w->id);
}

/* The same request again. Returns the status, or 0 if it is new. */
static int answer_again(struct exchange *x, struct sql *db, const struct wish *w)
{
	struct error err = {0};
	json_t *row = NULL;
	const char *digest;
	int r = listing_get(db, &staging_listing, w->id, &row, NULL, &err);

	if (r <= 0)
		return r < 0 ? exchange_fail_sql(x, r, &err) : 0;
	digest = json_string_value(json_object_get(row, "digest"));
	if (digest && streq(digest, w->digest))
		return exchange_answer(x, 200, row);
	json_decref(row);
	return exchange_fail(x, 409, "staging '%s' is of another image; take a new id", w->id);
}

static int run_post(struct exchange *x, struct sql *db)
{
	struct wish w = {.wave = WAVE_DEFAULT};
	int status = body_parse(x, &w);

	if (status == 0)
		status = check_group(x, db, w.group);
	if (status == 0)
		status = check_image(x, db, w.digest);
	if (status == 0)
		status = answer_again(x, db, &w);
	return status ? status : make(x, db, &w);
}

static int run_nodes(struct exchange *x, struct sql *db)
{
	const struct listing_condition conditions[] = {
		{"staging_node.staging = ?", sql_text(x->params[0])},
		{NULL},
	};

	return listing_run_with(x, db, conditions);
}

static int run_delete(struct exchange *x, struct sql *db)
{
	struct error err = {0};
	json_t *row = NULL;
	const char *group;
	int r = listing_get(db, &staging_listing, x->params[0], &row, NULL, &err);
	int status = 0;

	if (r <= 0)
		return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
	group = json_string_value(json_object_get(row, "group"));
	if (!caller_administers(&x->caller, group && group[0] ? group : NULL))
		status = exchange_fail(
			x, 403, "staging '%.64s' is not yours to cancel", x->params[0]);
	json_decref(row);
	if (status)
		return status;
	r = staging_cancel(x, db, x->params[0], &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
}

#define ADMINISTRATORS (ROLE_GROUP_ADMIN | ROLE_ADMINISTRATOR)

const struct route staging_routes[] = {
	{"POST", "/v1/stagings", ROUTE_WRITE, ADMINISTRATORS,
		"Brings an image to the nodes of a host group, so many at a time",
		.body = wish_fields, .listing = &staging_listing, .one = true, .run = run_post},
	{"GET", "/v1/stagings", ROUTE_READ, ADMINISTRATORS, "Lists what is staged, and how far",
		.listing = &staging_listing},
	{"GET", "/v1/stagings/{id}", ROUTE_READ, ADMINISTRATORS, "Shows how far a staging is",
		.listing = &staging_listing, .one = true},
	{"GET", "/v1/stagings/{id}/nodes", ROUTE_READ, ADMINISTRATORS,
		"Lists the nodes of a staging, and why it has failed on some",
		.listing = &node_listing_of, .run = run_nodes},
	{"DELETE", "/v1/stagings/{id}", ROUTE_WRITE, ADMINISTRATORS,
		"Cancels a staging: no more nodes begin, and none keeps the image for it",
		.run = run_delete},
	{.method = NULL},
};
