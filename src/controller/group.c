#include "controller/group.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/event.h"

#define DESCRIPTION_MAX 256

static const struct listing_column columns[] = {
	{"name", "hostgroup.name", LISTING_TEXT, true, "Its name"},
	{"description", "hostgroup.description", LISTING_TEXT, false, "What it is for"},
	{"nodes", "(SELECT count(*) FROM node WHERE node.hostgroup = hostgroup.name)",
		LISTING_NUMBER, false, "Nodes that are in it"},
	{"revision", "hostgroup.revision", LISTING_NUMBER, false, "Its ETag"},
	{.name = NULL},
};

const struct listing group_listing = {
	.noun = "host group",
	.table = "hostgroup",
	.columns = columns,
	.revision = "hostgroup.revision",
};

struct wish {
	char description[DESCRIPTION_MAX];
};

static const struct field wish_fields[] = {
	{"description", FIELD_TEXT, offsetof(struct wish, description), 0, DESCRIPTION_MAX, false,
		NULL, "What it is for"},
	{.name = NULL},
};

static int tell(struct exchange *x, struct sql *db, const char *kind, struct error *err)
{
	char actor[EVENT_ACTOR_MAX], subject[sizeof(x->params[0]) + 8];

	snprintf(subject, sizeof(subject), "group:%s", x->params[0]);
	return event_add(db, x->now_us, kind, subject, event_actor(&x->caller, actor), NULL, err);
}

static int put(struct exchange *x, struct sql *db, const struct wish *wish, json_t *row)
{
	const char *there = json_string_value(json_object_get(row, "description"));
	struct error err = {0};
	json_t *answer = NULL;
	int64_t revision;
	int r = 0;

	if (!there || !streq(there, wish->description)) {
		r = sql_change(db, &err,
			"INSERT INTO hostgroup (name, description, revision) VALUES (?1, ?2, 1)"
			" ON CONFLICT (name) DO UPDATE SET description = excluded.description,"
			" revision = hostgroup.revision + 1",
			sql_text(x->params[0]), sql_text(wish->description));
		if (r >= 0)
			r = tell(x, db, there ? "group.changed" : "group.made", &err);
	}
	if (r >= 0)
		r = listing_get(db, &group_listing, x->params[0], &answer, &revision, &err);
	if (r <= 0)
		return exchange_fail_sql(x, r < 0 ? r : -EIO, &err);
	exchange_set_etag(x, revision);
	return exchange_answer(x, there ? 200 : 201, answer);
}

static int run_put(struct exchange *x, struct sql *db)
{
	struct wish wish = {0};
	struct error err = {0};
	int64_t revision = 0;
	json_t *row = NULL;
	int r, status = body_parse(x, &wish);

	if (status == 0)
		status = body_check_name(x, "host group", x->params[0]);
	if (status)
		return status;
	r = listing_get(db, &group_listing, x->params[0], &row, &revision, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	status = x->if_match ? exchange_check_match(x, revision) : 0;
	if (status == 0)
		status = put(x, db, &wish, row);
	json_decref(row);
	return status;
}

/* With it goes what has no meaning any more. */
static int forget(struct exchange *x, struct sql *db, struct error *err)
{
	const struct sql_value name = sql_text(x->params[0]);
	int r = sql_change(db, err, "DELETE FROM configuration WHERE scope = 'group:' || ?1", name);

	if (r >= 0)
		r = sql_change(db, err, "DELETE FROM role WHERE hostgroup = ?1", name);
	if (r >= 0)
		r = sql_change(
			db, err, "DELETE FROM token WHERE hostgroup = ?1 AND kind = 'join'", name);
	if (r >= 0)
		r = sql_change(db, err, "DELETE FROM hostgroup WHERE name = ?1", name);
	return r > 0 ? tell(x, db, "group.removed", err) : r;
}

static int run_delete(struct exchange *x, struct sql *db)
{
	struct error err = {0};
	int64_t nodes = 0;
	int r = sql_get_number(db, &err, &nodes, "SELECT count(*) FROM node WHERE hostgroup = ?1",
		sql_text(x->params[0]));

	if (r >= 0 && nodes > 0)
		return exchange_fail(x, 409,
			"host group '%.64s' has %d nodes; move them to another one first",
			x->params[0], (int)nodes);
	if (r >= 0)
		r = forget(x, db, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
}

#define READERS (ROLE_GROUP_ADMIN | ROLE_ADMINISTRATOR)

const struct route group_routes[] = {
	{"GET", "/v1/groups", ROUTE_READ, READERS, "Lists host groups", .listing = &group_listing},
	{"GET", "/v1/groups/{name}", ROUTE_READ, READERS, "Shows a host group",
		.listing = &group_listing, .one = true},
	{"PUT", "/v1/groups/{name}", ROUTE_WRITE, ROLE_ADMINISTRATOR,
		"Makes a host group, or describes it", .body = wish_fields,
		.listing = &group_listing, .one = true, .run = run_put},
	{"DELETE", "/v1/groups/{name}", ROUTE_WRITE, ROLE_ADMINISTRATOR,
		"Removes a host group that no node is in", .run = run_delete},
	{.method = NULL},
};
