/* What a node tells of volumes, and is told: of those that it keeps, and of those that its VMs use.
 * Whatever it tells may be told again. */
#include <errno.h>
#include <stdio.h>

#include "controller/event.h"
#include "controller/volume.h"

#define ITEMS_MAX   1000
#define ADDRESS_MAX 256
#define REASON_MAX  512

struct store {
	char address[ADDRESS_MAX];
	uint64_t free_bytes;
};

struct told {
	json_t *attach, *detach, *served, *made, *gone, *store;
};

#define LIST(name, help)                                                                        \
	{                                                                                       \
#name, FIELD_LIST, offsetof(struct told, name), 0, ITEMS_MAX, false, NULL, help \
	}

static const struct field fields[] = {
	LIST(attach, "Volumes that its VMs want: id, volume, user, vm, read_only"),
	LIST(detach, "Ids of attachments of its VMs that are over"),
	LIST(served, "Attachments that it serves: id, generation, port; or error"),
	LIST(made, "Volumes that it has made, or grown: id, size_bytes; or error"),
	LIST(gone, "Ids of volumes whose data it has removed"),
	{"store", FIELD_OBJECT, offsetof(struct told, store), 0, 0, false, NULL,
		"That it keeps volumes: address, where others reach it, and free_bytes"},
	{.name = NULL},
};

#define STORE(member) offsetof(struct store, member)
static const struct field store_fields[] = {
	{"address", FIELD_TEXT, STORE(address), 0, ADDRESS_MAX, true},
	{"free_bytes", FIELD_NUMBER, STORE(free_bytes), 0, INT64_MAX, true},
	{.name = NULL},
};

#define WISH(member) offsetof(struct volume_wish, member)
static const struct field wish_fields[] = {
	{"id", FIELD_ID, WISH(id), 0, 0, true},
	{"volume", FIELD_TEXT, WISH(volume), 0, VOLUME_REFERENCE_MAX, true},
	{"user", FIELD_TEXT, WISH(user), 0, CALLER_NAME_MAX, true},
	{"vm", FIELD_ID, WISH(vm), 0, 0, true},
	{"read_only", FIELD_BOOL, WISH(read_only)},
	{.name = NULL},
};

/* What has become of a volume, or an attachment, at the node that has the data. */
struct item {
	char id[UUID_TEXT_SIZE], error[REASON_MAX];
	uint64_t generation, port, size_bytes;
};

#define ITEM(member) offsetof(struct item, member)
static const struct field item_fields[] = {
	{"id", FIELD_ID, ITEM(id), 0, 0, true},
	{"error", FIELD_TEXT, ITEM(error), 0, REASON_MAX},
	{"generation", FIELD_NUMBER, ITEM(generation), 0, INT64_MAX},
	{"port", FIELD_NUMBER, ITEM(port), 0, 65535},
	{"size_bytes", FIELD_NUMBER, ITEM(size_bytes), 0, INT64_MAX},
	{.name = NULL},
};

static int check_node(struct exchange *x)
{
	return streq(x->caller.name, x->params[0])
		       ? 0
		       : exchange_fail(x, 403, "node '%s' speaks for itself, not for '%.128s'",
				 x->caller.name, x->params[0]);
}

static int note_store(struct exchange *x, struct sql *db, json_t *told, struct error *err)
{
	struct store s = {0};
	struct error why = {0};

	if (fields_parse(store_fields, told, &s, &why) < 0)
		return 0; /* it keeps none that others could reach */
	return sql_change(db, err,
		"INSERT INTO volume_store (node, address, free_bytes, seen)"
		" VALUES (?1, ?2, ?3, ?4) ON CONFLICT (node) DO UPDATE SET"
		" address = excluded.address, free_bytes = excluded.free_bytes,"
		" seen = excluded.seen",
		sql_text(x->caller.name), sql_text(s.address), sql_number((int64_t)s.free_bytes),
		sql_number((int64_t)x->now_us));
}

static int refuse(json_t *refused, json_t *item, const struct error *why)
{
	json_t *id = json_object_get(item, "id");

	return json_array_append_new(
		       refused, json_pack("{s:O?, s:s}", "id", json_is_string(id) ? id : NULL,
					"error", why->text)) < 0
		       ? -ENOMEM
		       : 0;
}

static int note_wishes(
	struct exchange *x, struct sql *db, json_t *list, json_t *refused, struct error *err)
{
	json_t *item;
	size_t i;
	int r = 0;

	json_array_foreach(list, i, item)
	{
		struct volume_wish w = {0};
		struct error why = {0};

		if (r < 0)
			break;
		r = fields_parse(wish_fields, item, &w, &why) < 0 ? 400
								  : volume_attach(x, db, &w, &why);
		if (r > 0)
			r = refuse(refused, item, &why);
		else if (r < 0)
			*err = why;
	}
	return r;
}

static int note_ends(struct exchange *x, struct sql *db, json_t *list, struct error *err)
{
	char actor[EVENT_ACTOR_MAX];
	json_t *item;
	size_t i;
	int r = 0;

	event_actor(&x->caller, actor);
	json_array_foreach(list, i, item) if (r >= 0 && json_is_string(item)) r = volume_detach(db,
		x->now_us, json_string_value(item), x->caller.name, actor, "its VM has ended", err);
	return MIN_OF(r, 0);
}

/* Only what is of the last generation of the table counts, and of a volume that is here. */
static int note_served(struct exchange *x, struct sql *db, const struct item *i, struct error *err)
{
	return sql_change(db, err,
		"UPDATE attachment SET state = CASE WHEN ?3 = '' THEN 'attached' ELSE 'failed' END,"
		" reason = ?3, port = ?4 WHERE id = ?1 AND generation = ?5 AND EXISTS"
		" (SELECT 1 FROM volume WHERE volume.id = attachment.volume AND volume.node = ?2)",
		sql_text(i->id), sql_text(x->caller.name), sql_text(i->error),
		sql_number((int64_t)i->port), sql_number((int64_t)i->generation));
}

static int note_made(struct exchange *x, struct sql *db, const struct item *i, struct error *err)
{
	const struct sql_value id = sql_text(i->id), node = sql_text(x->caller.name);
	const struct sql_value now = sql_number((int64_t)x->now_us);

	if (!i->error[0])
		return sql_change(db, err,
			"UPDATE volume SET state = 'available', reason = '', state_since = ?3,"
			" revision = revision + 1 WHERE id = ?1 AND node = ?2"
			" AND state IN ('making', 'growing') AND size_bytes <= ?4",
			id, node, now, sql_number((int64_t)i->size_bytes));
	/* One that did not grow is what it was. */
	return sql_change(db, err,
		"UPDATE volume SET size_bytes = CASE WHEN state = 'growing' THEN ?5"
		" ELSE size_bytes END,"
		" state = CASE WHEN state = 'growing' THEN 'available' ELSE 'failed' END,"
		" reason = ?4, state_since = ?3, revision = revision + 1"
		" WHERE id = ?1 AND node = ?2 AND state IN ('making', 'growing')",
		id, node, now, sql_text(i->error), sql_number((int64_t)i->size_bytes));
}

static int note_items(struct exchange *x, struct sql *db, json_t *list,
	int (*note)(struct exchange *x, struct sql *db, const struct item *i, struct error *err),
	struct error *err)
{
	struct error why = {0};
	json_t *item;
	size_t i;
	int r = 0;

	json_array_foreach(list, i, item)
	{
		struct item parsed = {0};

		if (r >= 0 && fields_parse(item_fields, item, &parsed, &why) == 0)
			r = note(x, db, &parsed, err);
	}
	return MIN_OF(r, 0);
}

static int note_gone(struct exchange *x, struct sql *db, json_t *list, struct error *err)
{
	char actor[EVENT_ACTOR_MAX];
	json_t *item;
	size_t i;
	int r = 0;

	event_actor(&x->caller, actor);
	json_array_foreach(list, i, item)
	{
		json_t *volume = NULL;

		if (r < 0 || !json_is_string(item))
			continue;
		r = listing_get(db, &volume_listing, json_string_value(item), &volume, NULL, err);
		if (r > 0)
			r = sql_change(db, err,
				"DELETE FROM volume WHERE id = ?1 AND node = ?2"
				" AND state = 'deleting'",
				sql_text(json_string_value(item)), sql_text(x->caller.name));
		if (r > 0)
			r = volume_tell(
				db, x->now_us, "volume.removed", volume, actor, json_object(), err);
		json_decref(volume);
	}
	return MIN_OF(r, 0);
}

static json_t *column_to_json(const struct sql_rows *rows, int i)
{
	return sql_rows_is_number(rows, i) ? json_integer(sql_rows_number(rows, i))
					   : json_string(sql_rows_text(rows, i));
}

/* All rows as objects, by the names of their columns. A new list, or NULL with `err`. */
static json_t *rows_to_json(struct sql_rows *rows, struct error *err)
{
	json_t *list = json_array();
	int r = 0;

	while (list && (r = sql_rows_next(rows, err)) > 0) {
		json_t *row = json_object();

		for (int i = 0; i < sql_rows_count(rows); i++)
			json_object_set_new(row, sql_rows_name(rows, i), column_to_json(rows, i));
		json_array_append_new(list, row);
	}
	if (list && r == 0)
		return list;
	json_decref(list);
	if (err->code == 0)
		fail(err, -ENOMEM, "out of memory");
	return NULL;
}

/* Those of the node's volumes with which there is something to do. */
static json_t *list_volumes(struct exchange *x, struct sql *db, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT id, name, owner, size_bytes, state, source FROM volume WHERE node = ?1"
		" AND state IN ('making', 'growing', 'deleting') ORDER BY id",
		sql_text(x->caller.name));

	return r < 0 ? NULL : rows_to_json(rows, err);
}

/* What is to be served of them: all of it, so that what is not there is not served any more. */
static json_t *list_served(struct exchange *x, struct sql *db, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT attachment.id AS id, attachment.volume AS volume, volume.owner AS owner,"
		" attachment.node AS node, attachment.read_only AS read_only,"
		" attachment.generation AS generation, attachment.key AS key,"
		" attachment.state AS state, attachment.port AS port FROM attachment JOIN volume"
		" ON volume.id = attachment.volume WHERE volume.node = ?1 ORDER BY attachment.id",
		sql_text(x->caller.name));

	return r < 0 ? NULL : rows_to_json(rows, err);
}

static json_t *list_used(struct exchange *x, struct sql *db, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT attachment.id AS id, attachment.volume AS volume, attachment.vm AS vm,"
		" attachment.generation AS generation, attachment.key AS key,"
		" attachment.state AS state, attachment.reason AS reason, attachment.port AS port,"
		" attachment.read_only AS read_only, volume.node AS node,"
		" volume.size_bytes AS size_bytes, volume_store.address AS address"
		" FROM attachment JOIN volume ON volume.id = attachment.volume"
		" LEFT JOIN volume_store ON volume_store.node = volume.node"
		" WHERE attachment.node = ?1 ORDER BY attachment.id",
		sql_text(x->caller.name));

	return r < 0 ? NULL : rows_to_json(rows, err);
}

/* Takes `refused`. */
static int answer(struct exchange *x, struct sql *db, json_t *refused)
{
	struct error err = {0};
	json_t *volumes = list_volumes(x, db, &err);
	json_t *served = volumes ? list_served(x, db, &err) : NULL;
	json_t *used = served ? list_used(x, db, &err) : NULL;

	if (used)
		return exchange_answer(x, 200,
			json_pack("{s:o, s:o, s:o, s:o}", "volumes", volumes, "served", served,
				"attachments", used, "refused", refused));
	json_decref(volumes);
	json_decref(served);
	json_decref(refused);
	return exchange_fail_sql(x, err.code, &err);
}

static int run_get(struct exchange *x, struct sql *db)
{
	int status = check_node(x);

	return status ? status : answer(x, db, json_array());
}

static int run_post(struct exchange *x, struct sql *db)
{
	struct told told = {0};
	struct error err = {0};
	json_t *refused;
	int r = 0, status = body_parse(x, &told);

	if (status == 0)
		status = check_node(x);
	if (status)
		return status;
	refused = json_array();
	if (told.store)
		r = note_store(x, db, told.store, &err);
	if (r >= 0)
		r = note_items(x, db, told.made, note_made, &err);
	if (r >= 0)
		r = note_gone(x, db, told.gone, &err);
	if (r >= 0)
		r = note_items(x, db, told.served, note_served, &err);
	/* What is over may be had by the next in the same breath. */
	if (r >= 0)
		r = note_ends(x, db, told.detach, &err);
	if (r >= 0)
		r = note_wishes(x, db, told.attach, refused, &err);
	if (r >= 0)
		return answer(x, db, refused);
	json_decref(refused);
	return exchange_fail_sql(x, r, &err);
}

const struct route volume_node_routes[] = {
	{"GET", "/v1/nodes/{name}/volumes", ROUTE_READ, ROLE_NODE,
		"What a node is to do with volumes: make, grow and remove, serve, and have its VMs use",
		.run = run_get},
	{"POST", "/v1/nodes/{name}/volumes", ROUTE_WRITE, ROLE_NODE,
		"Tells what a node has done, and what its VMs want; answers as the above",
		.body = fields, .run = run_post},
	{.method = NULL},
};
