#include "controller/volume.h"

#include <errno.h>
#include <stdio.h>

#include "controller/controller.h"
#include "controller/event.h"

#define SUBJECT_MAX (VOLUME_REFERENCE_MAX + 16)
#define NODE_MAX    CALLER_NAME_MAX

#define USERS                                                                       \
	"(SELECT count(*) FROM attachment WHERE attachment.volume = volume.id AND " \
	"attachment.read_only = "

static const struct listing_column columns[] = {
	{"id", "volume.id", LISTING_TEXT, true, "Its id"},
	{"name", "volume.name", LISTING_TEXT, true, "Its name, one of its owner's"},
	{"owner", "volume.owner", LISTING_TEXT, true, "Whose it is"},
	{"node", "volume.node", LISTING_TEXT, true, "Node that has the data"},
	{"size_bytes", "volume.size_bytes", LISTING_NUMBER, false, "How large it is, or is to be"},
	{"state", "volume.state", LISTING_TEXT, true,
		"making, available, growing, failed or deleting"},
	{"reason", "volume.reason", LISTING_TEXT, false, "Why it has failed, or did not grow"},
	{"source", "volume.source", LISTING_TEXT, true, "Id of what it is a copy of; ''"},
	{"generation", "volume.generation", LISTING_NUMBER, false,
		"How often it was attached; the last is the one that may write"},
	{"writers", USERS "0)", LISTING_NUMBER, false, "VMs that it is attached to for writing"},
	{"readers", USERS "1)", LISTING_NUMBER, false, "VMs that it is attached to for reading"},
	{"created", "volume.created", LISTING_TIME, false, "When it was made"},
	{"state_since", "volume.state_since", LISTING_TIME, false, "Since when it is in its state"},
	{"revision", "volume.revision", LISTING_NUMBER, false, "Its ETag"},
	{.name = NULL},
};

const struct listing volume_listing = {
	.noun = "volume",
	.table = "volume",
	.columns = columns,
	.owner = "volume.owner",
	.node = "volume.node",
	.revision = "volume.revision",
};

struct wish {
	uint64_t size;
	char node[NODE_MAX], source[VOLUME_REFERENCE_MAX];
};

#define SIZE_FIELD(required, help)                                                        \
	{                                                                                 \
		"size_bytes", FIELD_NUMBER, offsetof(struct wish, size), VOLUME_SIZE_MIN, \
			VOLUME_SIZE_MAX, required, NULL, help                             \
	}

static const struct field wish_fields[] = {
	SIZE_FIELD(false, "How large it is to be; of a copy: as its source, not there"),
	{"node", FIELD_TEXT, offsetof(struct wish, node), 0, NODE_MAX, false, NULL,
		"Node that is to have the data; not there: the one with the most room"},
	{"source", FIELD_TEXT, offsetof(struct wish, source), 0, VOLUME_REFERENCE_MAX, false, NULL,
		"Volume that it is to be a copy of, NAME, OWNER/NAME or id"},
	{.name = NULL},
};

static const struct field size_fields[] = {
	SIZE_FIELD(true, "How large it is to be, more than it is"),
	{.name = NULL},
};

static const char *text_of(json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

static uint64_t number_of(json_t *row, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(row, name));
}

/* The id of "NAME" or "OWNER/NAME". Returns 1, 0 or negative errno. */
static int find_id(struct sql *db, const char *user, const char *reference,
	char ret[UUID_TEXT_SIZE], struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	const char *slash = strchr(reference, '/');
	char owner[CALLER_NAME_MAX];
	int r;

	snprintf(owner, sizeof(owner), "%.*s",
		slash ? (int)MIN_OF((size_t)(slash - reference), sizeof(owner) - 1)
		      : (int)sizeof(owner) - 1,
		slash ? reference : user);
	r = sql_select(db, err, &rows, "SELECT id FROM volume WHERE owner = ?1 AND name = ?2",
		sql_text(owner), sql_text(slash ? slash + 1 : reference));
	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r > 0)
		snprintf(ret, UUID_TEXT_SIZE, "%s", sql_rows_text(rows, 0));
	return r;
}

int volume_find(
	struct sql *db, const char *user, const char *reference, json_t **ret, struct error *err)
{
	char id[UUID_TEXT_SIZE];
	int r = 1;

	if (uuid_is_text(reference))
		snprintf(id, sizeof(id), "%.*s", UUID_TEXT_SIZE - 1, reference);
	else
		r = find_id(db, user, reference, id, err);
	return r <= 0 ? r : listing_get(db, &volume_listing, id, ret, NULL, err);
}

int volume_tell(struct sql *db, uint64_t now_us, const char *kind, json_t *volume,
	const char *actor, json_t *detail, struct error *err)
{
	char subject[SUBJECT_MAX];

	snprintf(subject, sizeof(subject), "volume:%s/%s", text_of(volume, "owner"),
		text_of(volume, "name"));
	json_object_set_new(detail, "user", json_string(text_of(volume, "owner")));
	return event_add(db, now_us, kind, subject, actor, detail, err);
}

static int tell(struct exchange *x, struct sql *db, const char *kind, json_t *volume,
	json_t *detail, struct error *err)
{
	char actor[EVENT_ACTOR_MAX];

	return volume_tell(
		db, x->now_us, kind, volume, event_actor(&x->caller, actor), detail, err);
}

static bool is_visible(const struct caller *caller, json_t *volume)
{
	return (caller->roles & ROLE_ADMINISTRATOR) ||
	       (caller->kind == CALLER_USER && streq(text_of(volume, "owner"), caller->name)) ||
	       (caller->kind == CALLER_NODE && streq(text_of(volume, "node"), caller->name));
}

/* The volume of the path, or another one. Returns 0, or the status with the error said. */
static int find(struct exchange *x, struct sql *db, const char *reference, json_t **ret)
{
	struct error err = {0};
	int r = volume_find(db, x->caller.name, reference, ret, &err);

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r > 0 && is_visible(&x->caller, *ret))
		return 0;
	if (r > 0)
		json_decref(*ret);
	*ret = NULL;
	return exchange_fail(x, 404,
		"there is no volume '%.128s' that you may see; GET /v1/volumes lists them",
		reference);
}

static int answer(struct exchange *x, struct sql *db, int status, const char *reference)
{
	json_t *volume = NULL;
	int failed = find(x, db, reference, &volume);

	if (failed)
		return failed;
	exchange_set_etag(x, json_integer_value(json_object_get(volume, "revision")));
	return exchange_answer(x, status, volume);
}

static int run_get(struct exchange *x, struct sql *db)
{
	return answer(x, db, 200, x->params[0]);
}

/* What a user's volumes have, with `more` bytes. Returns 0, or the status with the error said. */
static int check_quota(struct exchange *x, struct sql *db, const char *owner, int more_volumes,
	uint64_t more_bytes)
{
	const struct controller_settings *s = controller_get_settings(x->controller);
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	struct error err = {0};
	uint64_t count, bytes;
	int r = sql_select(db, &err, &rows,
		"SELECT count(*), CAST(coalesce(sum(size_bytes), 0) AS BIGINT) FROM volume"
		" WHERE owner = ?1",
		sql_text(owner));

	if (r == 0)
		r = sql_rows_next(rows, &err);
	if (r <= 0)
		return exchange_fail_sql(x, r < 0 ? r : -EIO, &err);
	count = (uint64_t)sql_rows_number(rows, 0);
	bytes = (uint64_t)sql_rows_number(rows, 1);
	if (more_volumes > 0 && count >= s->volumes)
		return exchange_fail(x, 403,
			"%s has %d volumes already, and may have %d; delete one first, or ask an "
			"administrator for more (volumes)",
			owner, (int)count, (int)s->volumes);
	if (bytes + more_bytes > s->volume_size)
		return exchange_fail(x, 403,
			"with this the volumes of %s had %llu MiB, and may have %llu; delete one "
			"first, or ask an administrator for more (volume_size)",
			owner, (unsigned long long)((bytes + more_bytes) >> 20),
			(unsigned long long)(s->volume_size >> 20));
	return 0;
}

/* A node for the data: the one that is asked for, else that with the most room. Returns 0, or the
 * status with the error said. */
static int choose_node(struct exchange *x, struct sql *db, struct wish *w)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	struct error err = {0};
	int r = sql_select(db, &err, &rows,
		"SELECT node.name, volume_store.free_bytes FROM volume_store JOIN node"
		" ON node.name = volume_store.node WHERE node.state IN ('up', 'drained')"
		" AND (?1 = '' OR node.name = ?1) ORDER BY volume_store.free_bytes DESC, node.name"
		" LIMIT 1",
		sql_text(w->node));

	if (r == 0)
		r = sql_rows_next(rows, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0 && w->node[0])
		return exchange_fail(x, 409,
			"node '%.128s' keeps no volumes now; [node] volumes makes one that does",
			w->node);
	if (r == 0)
		return exchange_fail(
			x, 409, "no node keeps volumes now; [node] volumes makes one that does");
	if ((uint64_t)sql_rows_number(rows, 1) < w->size)
		return exchange_fail(x, 409,
			"no node has so much room: '%s' has the most, %llu MiB",
			sql_rows_text(rows, 0), (unsigned long long)sql_rows_number(rows, 1) >> 20);
	snprintf(w->node, sizeof(w->node), "%s", sql_rows_text(rows, 0));
	return 0;
}

/* A copy is made where its source is, which must not change meanwhile. Returns 0, or the status
 * with the error said; w->source becomes an id. */
static int follow_source(struct exchange *x, struct sql *db, struct wish *w)
{
	json_t *source = NULL;
	int status = find(x, db, w->source, &source);

	if (status)
		return status;
	if (!streq(text_of(source, "state"), "available"))
		status = exchange_fail(x, 409, "volume '%s' cannot be copied: it is %s",
			text_of(source, "name"), text_of(source, "state"));
	else if (number_of(source, "writers") > 0)
		status = exchange_fail(x, 409,
			"volume '%s' is attached for writing; a copy is made when its VM has ended",
			text_of(source, "name"));
	else if ((w->size > 0 && w->size != number_of(source, "size_bytes")) ||
		 (w->node[0] && !streq(w->node, text_of(source, "node"))))
		status = exchange_fail(x, 400,
			"a copy has the size of its source, on its node; have it grow later");
	w->size = number_of(source, "size_bytes");
	snprintf(w->node, sizeof(w->node), "%s", text_of(source, "node"));
	snprintf(w->source, sizeof(w->source), "%s", text_of(source, "id"));
	json_decref(source);
	return status;
}

static int make(struct exchange *x, struct sql *db, const struct wish *w)
{
	char id[UUID_TEXT_SIZE];
	struct error err = {0};
	json_t *volume = NULL;
	int r = uuid_new(id);

	if (r < 0)
		return exchange_fail(x, 500, "the controller has no random numbers");
	r = sql_change(db, &err,
		"INSERT INTO volume (id, name, owner, node, size_bytes, state, reason, source,"
		" generation, created, state_since, revision)"
		" VALUES (?1, ?2, ?3, ?4, ?5, 'making', '', ?6, 0, ?7, ?7, 1)",
		sql_text(id), sql_text(x->params[0]), sql_text(x->caller.name), sql_text(w->node),
		sql_number((int64_t)w->size), sql_text(w->source), sql_number((int64_t)x->now_us));
	if (r >= 0)
		r = listing_get(db, &volume_listing, id, &volume, NULL, &err);
	if (r > 0)
		r = tell(x, db, "volume.made", volume,
			json_pack("{s:I, s:s, s:s}", "size_bytes", (json_int_t)w->size, "node",
				w->node, "source", w->source),
			&err);
	json_decref(volume);
	return r < 0 ? exchange_fail_sql(x, r, &err) : answer(x, db, 201, id);
}

/* The same request again changes nothing. */
static int make_again(struct exchange *x, struct sql *db, const struct wish *w, json_t *there)
{
	json_t *source = NULL;
	bool same = w->size == 0 || w->size == number_of(there, "size_bytes");
	int status = w->source[0] ? find(x, db, w->source, &source) : 0;

	if (status)
		return status;
	same = same && streq(text_of(there, "source"), text_of(source, "id")) &&
	       (!w->node[0] || streq(w->node, text_of(there, "node"))) &&
	       !streq(text_of(there, "state"), "deleting");
	json_decref(source);
	if (same)
		return answer(x, db, 200, x->params[0]);
	return exchange_fail(x, 409,
		"you have another volume '%s' already, which is %s; take another name, or delete it",
		x->params[0], text_of(there, "state"));
}

static int run_put(struct exchange *x, struct sql *db)
{
	struct wish w = {0};
	struct error err = {0};
	json_t *there = NULL;
	int r, status = body_parse(x, &w);

	if (status == 0)
		status = body_check_name(x, "volume", x->params[0]);
	if (status)
		return status;
	if (streq(x->caller.name, "root"))
		return exchange_fail(
			x, 403, "volumes are of users, as whom they are served; make it as one");
	if (uuid_is_text(x->params[0]))
		return exchange_fail(x, 400, "a volume's name is no UUID; take another");
	r = volume_find(db, x->caller.name, x->params[0], &there, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r > 0) {
		status = make_again(x, db, &w, there);
		json_decref(there);
		return status;
	}
	if (!w.source[0] && w.size == 0)
		return exchange_fail(
			x, 400, "the request's body is wrong: 'size_bytes' is missing");
	status = w.source[0] ? follow_source(x, db, &w) : choose_node(x, db, &w);
	if (status == 0)
		status = check_quota(x, db, x->caller.name, 1, w.size);
	return status ? status : make(x, db, &w);
}

/* Is anything using it? Returns 0, or the status with the error said. */
static int check_unused(struct exchange *x, struct sql *db, json_t *volume)
{
	const char *name = text_of(volume, "name");
	struct error err = {0};
	int64_t copies = 0;
	int r = sql_get_number(db, &err, &copies,
		"SELECT count(*) FROM volume WHERE source = ?1 AND state = 'making'",
		sql_text(text_of(volume, "id")));

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (number_of(volume, "writers") + number_of(volume, "readers") > 0)
		return exchange_fail(x, 409,
			"volume '%s' is attached; end its VM first (GET /v1/attachments?volume=%s)",
			name, text_of(volume, "id"));
	return copies == 0 ? 0 : exchange_fail(x, 409, "volume '%s' is being copied", name);
}

static int grow(struct exchange *x, struct sql *db, json_t *volume, uint64_t size)
{
	struct error err = {0};
	int r = sql_change(db, &err,
		"UPDATE volume SET state = 'growing', reason = '', size_bytes = ?2,"
		" state_since = ?3, revision = revision + 1 WHERE id = ?1",
		sql_text(text_of(volume, "id")), sql_number((int64_t)size),
		sql_number((int64_t)x->now_us));

	if (r >= 0)
		r = tell(x, db, "volume.growing", volume,
			json_pack("{s:I, s:I}", "before",
				(json_int_t)number_of(volume, "size_bytes"), "size_bytes",
				(json_int_t)size),
			&err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : answer(x, db, 200, text_of(volume, "id"));
}

static int change_size(struct exchange *x, struct sql *db, json_t *volume, uint64_t size)
{
	uint64_t before = number_of(volume, "size_bytes");
	const char *state = text_of(volume, "state");
	int status;

	if (size == before)
		return answer(x, db, 200, text_of(volume, "id"));
	if (!streq(state, "available"))
		return exchange_fail(x, 409, "volume '%s' cannot grow: it is %s",
			text_of(volume, "name"), state);
	if (size < before)
		return exchange_fail(x, 409, "volume '%s' has %llu bytes; it can only grow",
			text_of(volume, "name"), (unsigned long long)before);
	status = check_unused(x, db, volume);
	if (status == 0)
		status = check_quota(x, db, text_of(volume, "owner"), 0, size - before);
	return status ? status : grow(x, db, volume, size);
}

static int run_patch(struct exchange *x, struct sql *db)
{
	struct wish w = {0};
	json_t *volume = NULL;
	int status = body_parse(x, &w);

	if (status == 0)
		status = find(x, db, x->params[0], &volume);
	if (status == 0)
		status = change_size(x, db, volume, w.size);
	json_decref(volume);
	return status;
}

/* Its node removes the data, and tells when that is done. By force, as its node will not come back,
 * nobody is waited for. */
static int remove_volume(struct exchange *x, struct sql *db, json_t *volume, bool force)
{
	const struct sql_value id = sql_text(text_of(volume, "id"));
	struct error err = {0};
	int r;

	if (force)
		r = sql_change(db, &err, "DELETE FROM volume WHERE id = ?1", id);
	else
		r = sql_change(db, &err,
			"UPDATE volume SET state = 'deleting', state_since = ?2,"
			" revision = revision + 1 WHERE id = ?1 AND state <> 'deleting'",
			id, sql_number((int64_t)x->now_us));
	if (r > 0)
		r = tell(x, db, force ? "volume.removed" : "volume.deleting", volume,
			json_pack("{s:b}", "force", force), &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
}

static int run_delete(struct exchange *x, struct sql *db)
{
	const char *text = exchange_query(x, "force");
	bool force = text && streq(text, "true");
	struct error err = {0};
	json_t *volume = NULL;
	int r = volume_find(db, x->caller.name, x->params[0], &volume, &err), status;

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0 || !is_visible(&x->caller, volume)) {
		json_decref(volume);
		return exchange_answer_nothing(x);
	}
	if (force && !(x->caller.roles & ROLE_ADMINISTRATOR))
		status = exchange_fail(
			x, 403, "only an administrator has a volume forgotten without its node");
	else
		status = check_unused(x, db, volume);
	if (status == 0)
		status = remove_volume(x, db, volume, force);
	json_decref(volume);
	return status;
}

static const struct route_query delete_queries[] = {
	{"force", "Whether its node is not waited for, as it will not come back", QUERY_BOOL},
	{.name = NULL},
};

#define OWNERS  (ROLE_USER | ROLE_ADMINISTRATOR)
#define READERS (ROLE_NODE | OWNERS)

const struct route volume_routes[] = {
	{"GET", "/v1/volumes", ROUTE_READ, READERS, "Lists volumes", .listing = &volume_listing},
	{"GET", "/v1/volumes/{volume}", ROUTE_READ, READERS,
		"Shows a volume: NAME of one's own, OWNER/NAME, or an id",
		.listing = &volume_listing, .one = true, .run = run_get},
	{"PUT", "/v1/volumes/{volume}", ROUTE_WRITE, OWNERS,
		"Makes a volume of one's own, empty or as a copy", .body = wish_fields,
		.listing = &volume_listing, .one = true, .run = run_put},
	{"PATCH", "/v1/volumes/{volume}", ROUTE_WRITE, OWNERS, "Has a volume grow",
		.body = size_fields, .listing = &volume_listing, .one = true, .run = run_patch},
	{"DELETE", "/v1/volumes/{volume}", ROUTE_WRITE, OWNERS,
		"Has a volume removed that nothing uses, and its data", .queries = delete_queries,
		.run = run_delete},
	{.method = NULL},
};
