#include "controller/lease.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/event.h"
#include "controller/statement.h"
#include "lib/uuid.h"

#define BATCH_MAX   256
#define VM_MAX      UUID_TEXT_SIZE
#define JOB_MAX     192
#define SUBJECT_MAX (EXCHANGE_PARAM_MAX + 16)

#define OF_POOL(column) "(SELECT " column " FROM pool WHERE pool.name = lease.pool)"

static const struct listing_column columns[] = {
	{"id", "lease.id", LISTING_TEXT, true, "Its id, of the client's choice"},
	{"pool", "lease.pool", LISTING_TEXT, true, "The pool that it is of"},
	{"name", "lease.name", LISTING_TEXT, true, "Host name"},
	{"mac", "lease.mac", LISTING_TEXT, true, "MAC address"},
	{"address", "lease.address", LISTING_TEXT, true, "IPv4 address"},
	{"vlan", "lease.vlan", LISTING_NUMBER, true, "Number of the VLAN; 0: none"},
	{"prefix", OF_POOL("prefix"), LISTING_NUMBER, false, "Bits of the network"},
	{"gateway", OF_POOL("gateway"), LISTING_TEXT, false, "Gateway of the network"},
	{"nameservers", OF_POOL("nameservers_json"), LISTING_JSON, false,
		"Addresses of name servers"},
	{"node", "lease.node", LISTING_TEXT, true, "Node that holds it; '': none"},
	{"vm", "lease.vm", LISTING_TEXT, true, "VM that uses it; null: none yet"},
	{"job", "lease.job", LISTING_TEXT, true, "Job of that VM, as 'slurm.4711'"},
	{"user", "lease.username", LISTING_TEXT, true, "User of that VM"},
	{"given", "lease.given", LISTING_TIME, false, "When it was given"},
	{"revision", "lease.revision", LISTING_NUMBER, false, "Its ETag"},
	{.name = NULL},
};

const struct listing lease_listing = {
	.noun = "lease",
	.table = "lease",
	.columns = columns,
	.owner = "lease.username",
	.node = "lease.node",
	.revision = "lease.revision",
};

struct wish {
	char id[UUID_TEXT_SIZE];
	char pool[BODY_NAME_MAX];
	char node[CALLER_NAME_MAX];
	char vm[VM_MAX];
	char job[JOB_MAX];
	char user[CALLER_NAME_MAX];
	bool vm_given, job_given, user_given;
};

#define FIELD(name, type, member, required, help)                                                 \
	{                                                                                         \
		name, type, offsetof(struct wish, member), 0, sizeof(((struct wish *)0)->member), \
			required, NULL, help                                                      \
	}
#define GIVEN(name, member, help)                                                    \
	{                                                                            \
		name, FIELD_TEXT, offsetof(struct wish, member), 0,                  \
			sizeof(((struct wish *)0)->member), false, NULL, help, NULL, \
			offsetof(struct wish, member##_given)                        \
	}

#define VM_HELP   "Id of the VM that uses it; '': none, it is kept for one"
#define JOB_HELP  "Job of that VM, as 'slurm.4711'"
#define USER_HELP "User of that VM"

static const struct field wish_fields[] = {
	FIELD("pool", FIELD_TEXT, pool, true, "The pool that it is to be of"),
	FIELD("node", FIELD_TEXT, node, false,
		"Node that holds it; a node asks for itself, an administrator also for none"),
	GIVEN("vm", vm, VM_HELP),
	GIVEN("job", job, JOB_HELP),
	GIVEN("user", user, USER_HELP),
	{.name = NULL},
};

/* What a batch gives has its id inside. */
static const struct field item_fields[] = {
	FIELD("id", FIELD_ID, id, true, "Its id, of the client's choice"),
	FIELD("pool", FIELD_TEXT, pool, true, "The pool that it is to be of"),
	GIVEN("vm", vm, VM_HELP),
	GIVEN("job", job, JOB_HELP),
	GIVEN("user", user, USER_HELP),
	{.name = NULL},
};

struct batch {
	json_t *give, *take;
};

static const struct field batch_fields[] = {
	{"give", FIELD_LIST, offsetof(struct batch, give), 0, BATCH_MAX, false, NULL,
		"What is asked for: objects of id, pool and, where they are known, vm, job, user"},
	{"take", FIELD_LIST, offsetof(struct batch, take), 0, BATCH_MAX, false, NULL,
		"Ids of what is given back"},
	{.name = NULL},
};

static struct sql_value text_or_null(const char *text)
{
	return sql_text(text[0] ? text : NULL);
}

/* Runs a statement that gives back one lease. Returns 1 with a new object, 0 or negative errno. */
static int read_lease(struct statement *s, struct sql *db, json_t **ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = statement_select(s, db, &rows, err);

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	*ret = listing_to_json(&lease_listing, rows);
	return *ret ? 1 : fail(err, -ENOMEM, "out of memory");
}

/* A free place becomes a lease, if there is one, and the id is new. As read_lease(). */
static int insert(
	struct exchange *x, struct sql *db, const struct wish *w, json_t **ret, struct error *err)
{
	struct statement s AUTO(statement_done) = {0};
	const struct sql_value values[] = {sql_text(w->id), sql_text(w->node), text_or_null(w->vm),
		text_or_null(w->job), text_or_null(w->user), sql_number((int64_t)x->now_us),
		sql_text(w->pool)};

	statement_add(&s,
		"INSERT INTO lease (id, pool, number, name, mac, address, vlan, node, vm, job,"
		" username, given, revision) SELECT CAST(?1 AS TEXT), pool, number, name, mac,"
		" address, vlan, CAST(?2 AS TEXT), CAST(?3 AS TEXT), CAST(?4 AS TEXT),"
		" CAST(?5 AS TEXT), CAST(?6 AS BIGINT), 1 FROM place WHERE pool = ?7"
		" AND lease IS NULL AND (?2 = '' OR EXISTS (SELECT 1 FROM node WHERE"
		" node.name = ?2)) ORDER BY released, number LIMIT 1"
		" ON CONFLICT (id) DO NOTHING RETURNING ");
	listing_add_columns(&s, &lease_listing);
	memcpy(s.values, values, sizeof(values));
	s.count = ARRAY_SIZE(values);
	return read_lease(&s, db, ret, err);
}

/* The place of a new lease is taken. It is asked for by its key alone: PostgreSQL would go through
 * all that are free in a pool. */
static int occupy(struct sql *db, const struct wish *w, json_t *lease, struct error *err)
{
	return sql_change_later(db, err,
		"UPDATE place SET lease = ?1 WHERE mac = ?2 AND lease IS NULL", sql_text(w->id),
		sql_text(json_string_value(json_object_get(lease, "mac"))));
}

static bool is_text(json_t *object, const char *name, const char *text)
{
	const char *there = json_string_value(json_object_get(object, name));

	return streq(there ? there : "", text);
}

/* A text of the wish, or what the lease has of it. */
static struct sql_value choose(bool given, const char *wanted, json_t *lease, const char *name)
{
	return given ? text_or_null(wanted)
		     : sql_text(json_string_value(json_object_get(lease, name)));
}

/* What is known of a lease's use is changed. Returns 0 or negative errno. */
static int put_to_use(struct sql *db, const struct wish *w, json_t **lease, struct error *err)
{
	struct statement s AUTO(statement_done) = {0};
	const struct sql_value values[] = {
		sql_text(w->id),
		choose(w->vm_given, w->vm, *lease, "vm"),
		choose(w->job_given, w->job, *lease, "job"),
		choose(w->user_given, w->user, *lease, "user"),
	};
	json_t *changed = NULL;
	int r;

	if ((!w->vm_given || is_text(*lease, "vm", w->vm)) &&
		(!w->job_given || is_text(*lease, "job", w->job)) &&
		(!w->user_given || is_text(*lease, "user", w->user)))
		return 0;
	statement_add(&s, "UPDATE lease SET vm = ?2, job = ?3, username = ?4,"
			  " revision = revision + 1 WHERE id = ?1 RETURNING ");
	listing_add_columns(&s, &lease_listing);
	memcpy(s.values, values, sizeof(values));
	s.count = ARRAY_SIZE(values);
	r = read_lease(&s, db, &changed, err);
	if (r > 0) {
		json_decref(*lease);
		*lease = changed;
	}
	return MIN_OF(r, 0);
}

static int add_event(
	struct exchange *x, struct sql *db, const char *kind, json_t *lease, struct error *err)
{
	char actor[EVENT_ACTOR_MAX], subject[SUBJECT_MAX];

	snprintf(subject, sizeof(subject), "lease:%s",
		json_string_value(json_object_get(lease, "id")));
	return event_add(db, x->now_us, kind, subject, event_actor(&x->caller, actor),
		json_pack("{s:O, s:O, s:O, s:O, s:O, s:O, s:O}", "pool",
			json_object_get(lease, "pool"), "name", json_object_get(lease, "name"),
			"address", json_object_get(lease, "address"), "node",
			json_object_get(lease, "node"), "vm", json_object_get(lease, "vm"), "job",
			json_object_get(lease, "job"), "user", json_object_get(lease, "user")),
		err);
}

/* Why a lease cannot be had: a status, and the reason in `err`; or negative errno. */
static int explain(struct sql *db, const struct wish *w, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT (SELECT size FROM pool WHERE name = ?1),"
		" (SELECT count(*) FROM node WHERE name = ?2)",
		sql_text(w->pool), sql_text(w->node));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r < 0 ? r : -EIO;
	if (sql_rows_is_null(rows, 0)) {
		fail(err, -ENOENT, "there is no pool '%s'; GET /v1/pools lists them", w->pool);
		return 404;
	}
	if (w->node[0] && sql_rows_number(rows, 1) == 0) {
		fail(err, -ENOENT, "there is no node '%s'", w->node);
		return 404;
	}
	fail(err, -EBUSY,
		"pool '%s' is exhausted: all of its %d places are lent; wait for one, or have the "
		"pool grow",
		w->pool, (int)sql_rows_number(rows, 0));
	return 409;
}

/* The id is taken already: by the same wish, or another one. */
static int give_again(
	struct exchange *x, struct sql *db, const struct wish *w, json_t **lease, struct error *err)
{
	int r = listing_get(db, &lease_listing, w->id, lease, NULL, err);

	if (r <= 0)
		return r < 0 ? r : explain(db, w, err);
	if ((x->caller.kind == CALLER_NODE || w->node[0]) && !is_text(*lease, "node", w->node)) {
		fail(err, -EEXIST, "lease '%s' is held by another; take a new id", w->id);
		return 409;
	}
	if (!is_text(*lease, "pool", w->pool)) {
		fail(err, -EEXIST, "lease '%s' is of another pool; take a new id", w->id);
		return 409;
	}
	r = put_to_use(db, w, lease, err);
	return r < 0 ? r : 200;
}

/* Returns 201 or 200 with *lease a new object, another status with the reason in `err`, or negative
 * errno. `event`: this one has an event of its own. *lease may be set in any case. */
static int give(struct exchange *x, struct sql *db, const struct wish *w, bool event,
	json_t **lease, struct error *err)
{
	int r = insert(x, db, w, lease, err);

	if (r <= 0)
		return r < 0 ? r : give_again(x, db, w, lease, err);
	r = occupy(db, w, *lease, err);
	if (r == 0 && event)
		r = add_event(x, db, "lease.given", *lease, err);
	return r < 0 ? r : 201;
}

/* Who administers host groups takes back from their nodes. Returns 0, or 403 with the reason. */
static int check_group(struct exchange *x, struct sql *db, const char *id, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r;

	if (x->caller.kind == CALLER_NODE || (x->caller.roles & ROLE_ADMINISTRATOR))
		return 0;
	r = sql_select(db, err, &rows,
		"SELECT node.hostgroup FROM lease LEFT JOIN node ON node.name = lease.node"
		" WHERE lease.id = ?1",
		sql_text(id));
	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0 || caller_administers(&x->caller, sql_rows_text(rows, 0)))
		return MIN_OF(r, 0);
	fail(err, -EPERM, "lease '%s' is not of a node that you administer", id);
	return 403;
}

/* A lease that is not there was given back before, but for one of another's. */
static int take_nothing(struct sql *db, const char *id, struct error *err)
{
	int64_t there;
	int r = sql_get_number(db, err, &there, "SELECT 1 FROM lease WHERE id = ?1", sql_text(id));

	if (r <= 0)
		return r < 0 ? r : 200;
	fail(err, -EPERM, "lease '%s' is held by another node", id);
	return 403;
}

static int free_place(
	struct exchange *x, struct sql *db, const char *id, json_t *lease, struct error *err)
{
	return sql_change_later(db, err,
		"UPDATE place SET lease = NULL, released = ?3 WHERE mac = ?1 AND lease = ?2",
		sql_text(json_string_value(json_object_get(lease, "mac"))), sql_text(id),
		sql_number((int64_t)x->now_us));
}

/* Returns 200 with *lease what it was, or NULL if it was not there; another status with the reason
 * in `err`; or negative errno. */
static int take(struct exchange *x, struct sql *db, const char *id, bool event, json_t **lease,
	struct error *err)
{
	struct statement s AUTO(statement_done) = {0};
	int r = check_group(x, db, id, err);

	if (r != 0)
		return r;
	statement_add(&s, "DELETE FROM lease");
	statement_add_condition(&s, "id = ?", sql_text(id));
	if (x->caller.kind == CALLER_NODE)
		statement_add_condition(&s, "node = ?", sql_text(x->caller.name));
	statement_add(&s, " RETURNING ");
	listing_add_columns(&s, &lease_listing);
	r = read_lease(&s, db, lease, err);
	if (r <= 0)
		return r < 0 ? r : take_nothing(db, id, err);
	r = free_place(x, db, id, *lease, err);
	if (r >= 0 && event)
		r = add_event(x, db, "lease.returned", *lease, err);
	return r < 0 ? r : 200;
}

int lease_return_of_node(struct sql *db, uint64_t now_us, const char *node, int max,
	const char *actor, const char *reason, struct error *err)
{
	char subject[SUBJECT_MAX];
	int count, r;

	r = sql_change(db, err,
		"UPDATE place SET lease = NULL, released = ?1 WHERE (pool, number) IN"
		" (SELECT pool, number FROM lease WHERE node = ?2 ORDER BY id LIMIT ?3)",
		sql_number((int64_t)now_us), sql_text(node), sql_number(max));
	if (r <= 0)
		return r;
	count = sql_change(db, err,
		"DELETE FROM lease WHERE id IN"
		" (SELECT id FROM lease WHERE node = ?1 ORDER BY id LIMIT ?2)",
		sql_text(node), sql_number(max));
	if (count <= 0)
		return count;
	snprintf(subject, sizeof(subject), "node:%s", node);
	r = event_add(db, now_us, "lease.returned", subject, actor,
		json_pack("{s:i, s:s, s:s}", "count", count, "node", node, "reason", reason), err);
	return r < 0 ? r : count;
}

static bool has_ids(const struct wish *w)
{
	return uuid_is_text(w->id) && (!w->vm[0] || uuid_is_text(w->vm));
}

/* Whose lease it is to be. Returns 0, or the status with the error said. */
static int set_node(struct exchange *x, struct wish *w)
{
	if (x->caller.kind != CALLER_NODE)
		return 0;
	if (w->node[0] && !streq(w->node, x->caller.name))
		return exchange_fail(x, 403,
			"node '%s' asks for a lease of node '%.128s'; a node asks for itself",
			x->caller.name, w->node);
	snprintf(w->node, sizeof(w->node), "%s", x->caller.name);
	return 0;
}

static int run_put(struct exchange *x, struct sql *db)
{
	struct wish w = {0};
	struct error err = {0};
	json_t *lease = NULL;
	int status = body_parse(x, &w);

	if (status)
		return status;
	snprintf(w.id, sizeof(w.id), "%.*s", UUID_TEXT_SIZE - 1, x->params[0]);
	if (!uuid_is_text(x->params[0]) || !has_ids(&w))
		return exchange_fail(x, 400, "the id of a lease, and that of a VM, is a UUID");
	status = set_node(x, &w);
	if (status)
		return status;
	status = give(x, db, &w, true, &lease, &err);
	if (status == 200 || status == 201) {
		exchange_set_etag(x, json_integer_value(json_object_get(lease, "revision")));
		return exchange_answer(x, status, lease);
	}
	json_decref(lease);
	return status < 0 ? exchange_fail_sql(x, status, &err)
			  : exchange_fail(x, status, "%s", err.text);
}

static int run_delete(struct exchange *x, struct sql *db)
{
	struct error err = {0};
	json_t *lease = NULL;
	int status = take(x, db, x->params[0], true, &lease, &err);

	json_decref(lease);
	if (status < 0)
		return exchange_fail_sql(x, status, &err);
	return status == 200 ? exchange_answer_nothing(x)
			     : exchange_fail(x, status, "%s", err.text);
}

/* A batch and what has become of it. */
struct outcome {
	json_t *given, *refused, *given_ids, *taken_ids;
};

static void outcome_done(struct outcome *o)
{
	json_decref(o->given);
	json_decref(o->refused);
	json_decref(o->given_ids);
	json_decref(o->taken_ids);
}

static int refuse(struct outcome *o, json_t *id, int status, const struct error *err)
{
	json_t *item = json_pack("{s:O?, s:s, s:i}", "id", json_is_string(id) ? id : NULL, "error",
		err->text, "status", status);

	return json_array_append_new(o->refused, item) < 0 ? -ENOMEM : 0;
}

static int give_item(
	struct exchange *x, struct sql *db, json_t *item, struct outcome *o, struct error *err)
{
	struct wish w = {0};
	json_t *lease = NULL;
	int status = fields_parse(item_fields, item, &w, err);

	snprintf(w.node, sizeof(w.node), "%s", x->caller.name);
	if (status == 0 && !has_ids(&w))
		status = fail(err, -EINVAL, "'vm' is not a UUID");
	status = status < 0 ? 400 : give(x, db, &w, false, &lease, err);
	if (status == 201 && json_array_append_new(o->given_ids, json_string(w.id)) < 0)
		status = -ENOMEM;
	if (status == 200 || status == 201)
		return json_array_append_new(o->given, lease) < 0 ? -ENOMEM : 0;
	json_decref(lease);
	return status < 0 ? status : refuse(o, json_object_get(item, "id"), status, err);
}

static int take_item(
	struct exchange *x, struct sql *db, json_t *item, struct outcome *o, struct error *err)
{
	const char *id = json_string_value(item);
	json_t *lease = NULL;
	int status;

	if (!id || !uuid_is_text(id)) {
		fail(err, -EINVAL, "the id of a lease is a UUID");
		return refuse(o, item, 400, err);
	}
	status = take(x, db, id, false, &lease, err);
	if (status == 200 && lease && json_array_append(o->taken_ids, item) < 0)
		status = -ENOMEM;
	json_decref(lease);
	if (status == 200)
		return 0;
	return status < 0 ? status : refuse(o, item, status, err);
}

/* One event for all of them. */
static int add_batch_event(
	struct exchange *x, struct sql *db, const char *kind, json_t *ids, struct error *err)
{
	char actor[EVENT_ACTOR_MAX], subject[SUBJECT_MAX];

	if (json_array_size(ids) == 0)
		return 0;
	snprintf(subject, sizeof(subject), "node:%s", x->caller.name);
	return event_add(db, x->now_us, kind, subject, event_actor(&x->caller, actor),
		json_pack("{s:i, s:O}", "count", (int)json_array_size(ids), "leases", ids), err);
}

static int do_batch(struct exchange *x, struct sql *db, const struct batch *b, struct outcome *o,
	struct error *err)
{
	json_t *item;
	size_t i;
	int r = 0;

	/* What is given back may be given in the same breath. */
	json_array_foreach(b->take, i, item) if (r == 0) r = take_item(x, db, item, o, err);
	json_array_foreach(b->give, i, item) if (r == 0) r = give_item(x, db, item, o, err);
	if (r == 0)
		r = add_batch_event(x, db, "lease.returned", o->taken_ids, err);
	if (r == 0)
		r = add_batch_event(x, db, "lease.given", o->given_ids, err);
	return r;
}

static int run_batch(struct exchange *x, struct sql *db)
{
	struct batch b = {0};
	struct outcome o AUTO(outcome_done) = {
		json_array(), json_array(), json_array(), json_array()};
	struct error err = {0};
	int r, status = body_parse(x, &b);

	if (status)
		return status;
	r = do_batch(x, db, &b, &o, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return exchange_answer(x, 200,
		json_pack("{s:O, s:i, s:O}", "given", o.given, "taken",
			(int)json_array_size(o.taken_ids), "refused", o.refused));
}

#define READERS (ROLE_NODE | ROLE_USER | ROLE_ADMINISTRATOR)
#define TAKERS  (ROLE_NODE | ROLE_GROUP_ADMIN | ROLE_ADMINISTRATOR)

const struct route lease_routes[] = {
	{"GET", "/v1/leases", ROUTE_READ, READERS, "Lists leases", .listing = &lease_listing},
	{"GET", "/v1/leases/{id}", ROUTE_READ, READERS, "Shows a lease", .listing = &lease_listing,
		.one = true},
	{"PUT", "/v1/leases/{id}", ROUTE_WRITE, ROLE_NODE | ROLE_ADMINISTRATOR,
		"Gives a lease, or notes what one is used for", .body = wish_fields,
		.listing = &lease_listing, .one = true, .run = run_put},
	{"DELETE", "/v1/leases/{id}", ROUTE_WRITE, TAKERS, "Gives a lease back", .run = run_delete},
	{"POST", "/v1/leases/batch", ROUTE_WRITE, ROLE_NODE,
		"Gives and takes leases of a node, those given back first", .body = batch_fields,
		.run = run_batch},
	{.method = NULL},
};
