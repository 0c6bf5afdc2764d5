#include "controller/node.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/event.h"
#include "controller/lease.h"
#include "controller/node_image.h"
#include "controller/vm.h"

#define REASON_MAX 256
#define NO_WISH    (-1) /* becomes NULL */

static const struct listing_column columns[] = {
	{"name", "node.name", LISTING_TEXT, true, "Its name"},
	{"hostgroup", "node.hostgroup", LISTING_TEXT, true,
		"The host group that it is in; '': none"},
	{"state", "node.state", LISTING_TEXT, true,
		"joined (not heard of yet), up, drained or lost"},
	{"reason", "node.reason", LISTING_TEXT, false, "Why it is drained or lost"},
	{"version", "node.version", LISTING_TEXT, true, "Version of its WNoDeS"},
	{"vms", "node.vms", LISTING_NUMBER, false, "VMs that it runs"},
	{"cpus", "node.cpus", LISTING_NUMBER, false, "CPUs that it has"},
	{"memory_bytes", "node.memory_bytes", LISTING_NUMBER, false, "Memory that it has"},
	{"joined", "node.joined", LISTING_TIME, false, "When it joined the site"},
	{"seen", "node.seen", LISTING_TIME, false, "When it was last heard of"},
	{"state_since", "node.state_since", LISTING_TIME, false,
		"Since when its state is this one"},
	{"autonomous_since", "node.autonomous", LISTING_TIME, false,
		"Since when it was without controllers, as it told last"},
	{"configuration", "node.config_seen", LISTING_TEXT, true,
		"Revision of the central configuration that is in force on it"},
	{"wanted_drained", "node.wish", LISTING_BOOL, false,
		"Whether people want it drained; null: its own affair"},
	{"wanted_reason", "node.wish_reason", LISTING_TEXT, false, "Why they do"},
	{"status", "node.status_json", LISTING_JSON, false, "All that it told of itself"},
	{"revision", "node.revision", LISTING_NUMBER, false, "Its ETag"},
	{.name = NULL},
};

const struct listing node_listing = {
	.noun = "node",
	.table = "node",
	.columns = columns,
	.revision = "node.revision",
};

int node_add(
	struct sql *db, const char *name, const char *hostgroup, uint64_t now_us, struct error *err)
{
	return sql_change(db, err,
		"INSERT INTO node (name, hostgroup, state, reason, version, status_json, vms,"
		" memory_bytes, cpus, joined, seen, state_since, autonomous, config_seen, revision)"
		" VALUES (?1, ?2, 'joined', '', '', '{}', 0, 0, 0, ?3, 0, ?3, 0, '', 1)"
		" ON CONFLICT (name) DO NOTHING",
		sql_text(name), sql_text(hostgroup), sql_number((int64_t)now_us));
}

struct patch {
	char hostgroup[BODY_NAME_MAX];
	char reason[REASON_MAX];
	bool drained;
	bool hostgroup_given, drained_given, reason_given;
};

static const struct field patch_fields[] = {
	{"hostgroup", FIELD_TEXT, offsetof(struct patch, hostgroup), 0, BODY_NAME_MAX, false, NULL,
		"The host group that it is to be in; '': none", NULL,
		offsetof(struct patch, hostgroup_given)},
	{"drained", FIELD_BOOL, offsetof(struct patch, drained), 0, 0, false, NULL,
		"Whether it is to take no more VMs; null: its own affair again", NULL,
		offsetof(struct patch, drained_given)},
	{"reason", FIELD_TEXT, offsetof(struct patch, reason), 0, REASON_MAX, false, NULL, "Why",
		NULL, offsetof(struct patch, reason_given)},
	{.name = NULL},
};

/* The node that a request is about, if the caller administers it. Returns 0 with a new object,
 * or the status with the error said (404 if there is none). */
static int find(struct exchange *x, struct sql *db, json_t **ret, int64_t *revision)
{
	struct error err = {0};
	json_t *node = NULL;
	int r = listing_get(db, &node_listing, x->params[0], &node, revision, &err);

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0)
		return exchange_fail(x, 404, "there is no node '%.128s'", x->params[0]);
	if (!caller_administers(
		    &x->caller, json_string_value(json_object_get(node, "hostgroup")))) {
		json_decref(node);
		return exchange_fail(x, 403,
			"node '%.128s' is not in a host group that you administer", x->params[0]);
	}
	*ret = node;
	return 0;
}

static int check_group(struct exchange *x, struct sql *db, const struct patch *p)
{
	struct error err = {0};
	int64_t there;
	int r;

	if (!p->hostgroup_given)
		return 0;
	if (!(x->caller.roles & ROLE_ADMINISTRATOR))
		return exchange_fail(x, 403,
			"only an administrator of the site moves nodes between host groups");
	if (!p->hostgroup[0])
		return 0;
	r = sql_get_number(db, &err, &there, "SELECT 1 FROM hostgroup WHERE name = ?1",
		sql_text(p->hostgroup));
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return r > 0 ? 0
		     : exchange_fail(x, 404,
			       "there is no host group '%s'; make it first (PUT /v1/groups/%s)",
			       p->hostgroup, p->hostgroup);
}

static int tell(
	struct exchange *x, struct sql *db, const char *kind, json_t *detail, struct error *err)
{
	char actor[EVENT_ACTOR_MAX], subject[sizeof(x->params[0]) + 8];

	snprintf(subject, sizeof(subject), "node:%s", x->params[0]);
	return event_add(db, x->now_us, kind, subject, event_actor(&x->caller, actor), detail, err);
}

/* What is asked, laid over what is there. Returns 0 or negative errno. */
static int change(
	struct exchange *x, struct sql *db, const struct patch *p, json_t *node, struct error *err)
{
	json_t *there = json_object_get(node, "wanted_drained");
	bool withdrawn = json_is_null(json_object_get(x->body, "drained")) &&
			 json_object_get(x->body, "drained");
	int wish = json_is_boolean(there) ? json_is_true(there) : NO_WISH;
	const char *reason = json_string_value(json_object_get(node, "wanted_reason"));
	const char *group = json_string_value(json_object_get(node, "hostgroup"));
	int r;

	if (p->drained_given || withdrawn) {
		wish = p->drained_given ? p->drained : NO_WISH;
		reason = p->reason;
	}
	r = sql_change(db, err,
		"UPDATE node SET hostgroup = ?2, wish = nullif(?3, -1), wish_reason = ?4,"
		" revision = revision + 1 WHERE name = ?1",
		sql_text(x->params[0]), sql_text(p->hostgroup_given ? p->hostgroup : group),
		sql_number(wish), sql_text(p->reason_given ? p->reason : reason));
	return r < 0 ? r : tell(x, db, "node.changed", json_incref(x->body), err);
}

static int run_patch(struct exchange *x, struct sql *db)
{
	struct patch p = {0};
	struct error err = {0};
	int64_t revision;
	json_t *node = NULL;
	int r, status = body_parse(x, &p);

	if (status == 0)
		status = find(x, db, &node, &revision);
	if (status)
		return status;
	status = exchange_check_match(x, revision);
	if (status == 0)
		status = check_group(x, db, &p);
	r = status ? 0 : change(x, db, &p, node, &err);
	json_decref(node);
	if (status)
		return status;
	if (r >= 0)
		r = listing_get(db, &node_listing, x->params[0], &node, &revision, &err);
	if (r <= 0)
		return exchange_fail_sql(x, r < 0 ? r : -EIO, &err);
	exchange_set_etag(x, revision);
	return exchange_answer(x, 200, node);
}

static int forget(struct exchange *x, struct sql *db, const char *name, struct error *err)
{
	char actor[EVENT_ACTOR_MAX];
	int r = sql_change(db, err,
		"UPDATE certificate SET revoked = ?2, reason = 'the node was removed'"
		" WHERE node = ?1 AND revoked = 0",
		sql_text(name), sql_number((int64_t)x->now_us));

	if (r >= 0)
		r = lease_return_of_node(db, x->now_us, name, INT32_MAX,
			event_actor(&x->caller, actor), "the node was removed", err);
	if (r >= 0)
		r = vm_forget_all(db, name, err);
	if (r >= 0)
		r = node_image_forget(db, name, err);
	if (r >= 0)
		r = sql_change(db, err, "DELETE FROM configuration WHERE scope = 'node:' || ?1",
			sql_text(name));
	if (r >= 0)
		r = sql_change(db, err, "DELETE FROM node WHERE name = ?1", sql_text(name));
	return r < 0 ? r : tell(x, db, "node.removed", NULL, err);
}

static int run_delete(struct exchange *x, struct sql *db)
{
	struct error err = {0};
	json_t *node = NULL;
	int64_t revision;
	int r, status = find(x, db, &node, &revision);

	json_decref(node);
	/* It was removed before. */
	if (status == 404)
		return exchange_answer_nothing(x);
	if (status == 0 && x->if_match)
		status = exchange_check_match(x, revision);
	if (status)
		return status;
	r = forget(x, db, x->params[0], &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
}

#define READERS        (ROLE_USER | ROLE_ADMINISTRATOR)
#define ADMINISTRATORS (ROLE_GROUP_ADMIN | ROLE_ADMINISTRATOR)

const struct route node_routes[] = {
	{"GET", "/v1/nodes", ROUTE_READ, READERS, "Lists the nodes", .listing = &node_listing},
	{"GET", "/v1/nodes/{name}", ROUTE_READ, READERS, "Shows a node", .listing = &node_listing,
		.one = true},
	{"PATCH", "/v1/nodes/{name}", ROUTE_WRITE, ADMINISTRATORS,
		"Says which host group a node is in, and whether it is to be drained",
		.body = patch_fields, .listing = &node_listing, .one = true, .matches = true,
		.run = run_patch},
	{"DELETE", "/v1/nodes/{name}", ROUTE_WRITE, ADMINISTRATORS,
		"Removes a node: its certificates are revoked, its leases returned",
		.run = run_delete},
	{.method = NULL},
};
