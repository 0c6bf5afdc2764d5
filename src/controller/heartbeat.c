/* What a node tells each half minute: that it lives, and which VMs have come, changed and gone
 * since what was last answered. A heartbeat is done again whole when its answer is lost, so nothing
 * in it counts, and one that comes late changes nothing. */
#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/configuration.h"
#include "controller/configuration_text.h"
#include "controller/controller.h"
#include "controller/event.h"
#include "controller/node.h"
#include "controller/vm.h"

#define SECOND         UINT64_C(1000000)
#define INTERVAL_MAX_S 30
#define INTERVALS_EACH 3 /* a node that misses so many is lost */
#define VMS_MAX        4096
#define LEASES_MAX     8192

/* Ids of leases that are told in an answer; the next one has the others. */
#define UNLISTED_MAX 500
#define REASON_MAX   512 /* more than a node keeps of one */
#define STATUS_MAX   16384

struct heartbeat {
	char boot[UUID_TEXT_SIZE];
	char state[8], reason[REASON_MAX], version[64], configuration[DIGEST_HEX_SIZE];
	uint64_t sequence, cpus, memory_bytes, autonomous_us;
	bool full;
	json_t *status, *vms, *gone, *leases;
	char *status_text; /* owned */
};

#define FIELD(name, type, member, max, required, help)                                       \
	{                                                                                    \
		name, type, offsetof(struct heartbeat, member), 0, max, required, NULL, help \
	}
#define TEXT(name, member, help) \
	FIELD(name, FIELD_TEXT, member, sizeof(((struct heartbeat *)0)->member), false, help)

static const struct field fields[] = {
	FIELD("boot", FIELD_ID, boot, 0, true, "Id of this life of the node's daemon"),
	FIELD("sequence", FIELD_NUMBER, sequence, INT64_MAX, true,
		"Number of the heartbeat in this life; a repeated one has the same"),
	FIELD("full", FIELD_BOOL, full, 0, false,
		"Whether 'vms' are all that there are; else those that are new or changed"),
	{"state", FIELD_WORD, offsetof(struct heartbeat, state), 0, 0, true, "up|drained",
		"Whether the node takes VMs"},
	TEXT("reason", reason, "Why it is drained"),
	TEXT("version", version, "Version of its WNoDeS"),
	FIELD("cpus", FIELD_NUMBER, cpus, 1 << 20, false, "CPUs that it has"),
	FIELD("memory_bytes", FIELD_NUMBER, memory_bytes, INT64_MAX, false, "Memory that it has"),
	FIELD("status", FIELD_OBJECT, status, 0, false, "All that it wants to tell"),
	TEXT("configuration", configuration,
		"Revision of the central configuration that is in force on it"),
	FIELD("autonomous_since", FIELD_TIME, autonomous_us, 0, false,
		"Since when it was without controllers, if it was"),
	FIELD("vms", FIELD_LIST, vms, VMS_MAX, false,
		"VMs: id, name, state, user, uid, job (system, id, name, partition, account), image, "
		"digest, cpus, memory_bytes, started"),
	FIELD("gone", FIELD_LIST, gone, VMS_MAX, false, "Ids of VMs that have ended"),
	FIELD("leases", FIELD_LIST, leases, LEASES_MAX, false,
		"Ids of all leases that it holds; not always there"),
	{.name = NULL},
};

/* What is said to the node. */
struct reply {
	char *configuration; /* owned */
	json_t *wish;        /* null: none */
	char reason[REASON_MAX];
	bool full; /* a full one is wanted */
	json_t *refused;
	json_t *unknown, *unlisted; /* leases that one of us has and the other not */
};

static void heartbeat_done(struct heartbeat *h)
{
	free(h->status_text);
}

static void reply_done(struct reply *r)
{
	free(r->configuration);
	json_decref(r->wish);
	json_decref(r->refused);
	json_decref(r->unknown);
	json_decref(r->unlisted);
}

/* The node's row as it was. */
struct known {
	char state[8], boot[UUID_TEXT_SIZE];
	int64_t sequence;
};

#define REPLY_COLUMNS CONFIGURATION_COLUMNS ", node.wish, node.wish_reason"

static int read_reply(struct sql_rows *rows, struct reply *ret, struct error *err)
{
	int r = configuration_read(rows, 0, &ret->configuration, err);

	if (r < 0)
		return r;
	ret->wish = sql_rows_is_null(rows, 3) ? json_null()
					      : json_boolean(sql_rows_number(rows, 3) != 0);
	snprintf(ret->reason, sizeof(ret->reason), "%s", sql_rows_text(rows, 4));
	return 1;
}

/* The values of both statements below. */
#define VALUES(x, h)                                                                             \
	sql_text((x)->params[0]), sql_text((h)->boot), sql_number((int64_t)(h)->sequence),       \
		sql_text((h)->state), sql_text((h)->reason), sql_text((h)->version),             \
		sql_text((h)->status_text), sql_number((int64_t)(h)->cpus),                      \
		sql_number((int64_t)(h)->memory_bytes), sql_number((int64_t)(h)->autonomous_us), \
		sql_text((h)->configuration), sql_number((int64_t)(x)->now_us)

#define SET                                                                                     \
	"UPDATE node SET boot = ?2, sequence = ?3, state = ?4, reason = ?5, version = ?6,"      \
	" status_json = ?7, cpus = ?8, memory_bytes = ?9, autonomous = ?10, config_seen = ?11," \
	" seen = ?12"

/* Nothing has changed that others are told of. Returns 1, 0 if something has, or negative errno. */
static int note_quickly(struct exchange *x, struct sql *db, const struct heartbeat *h,
	struct reply *reply, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		SET " WHERE name = ?1 AND boot = ?2 AND sequence <= ?3 AND state = ?4"
		    " RETURNING " REPLY_COLUMNS,
		VALUES(x, h));

	if (r == 0)
		r = sql_rows_next(rows, err);
	return r <= 0 ? r : read_reply(rows, reply, err);
}

static int note_whole(struct exchange *x, struct sql *db, const struct heartbeat *h,
	struct reply *reply, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		SET ", state_since = CASE WHEN state = ?4 THEN state_since ELSE ?12 END,"
		    " vms = (SELECT count(*) FROM vm WHERE vm.node = node.name)"
		    " WHERE name = ?1 RETURNING " REPLY_COLUMNS,
		VALUES(x, h));

	if (r == 0)
		r = sql_rows_next(rows, err);
	return r <= 0 ? r : read_reply(rows, reply, err);
}

/* What is answered where nothing is noted: to a heartbeat that is late, or not enough. */
static int note_nothing(struct exchange *x, struct sql *db, struct reply *reply, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows, "SELECT " REPLY_COLUMNS " FROM node WHERE name = ?1",
		sql_text(x->params[0]));

	if (r == 0)
		r = sql_rows_next(rows, err);
	return r <= 0 ? r : read_reply(rows, reply, err);
}

/* Returns 1, 0 if there is no such node, or negative errno. */
static int find_known(struct sql *db, const char *node, struct known *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows, "SELECT state, boot, sequence FROM node WHERE name = ?1",
		sql_text(node));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	snprintf(ret->state, sizeof(ret->state), "%s", sql_rows_text(rows, 0));
	snprintf(ret->boot, sizeof(ret->boot), "%s", sql_rows_text(rows, 1));
	ret->sequence = sql_rows_number(rows, 2);
	return 1;
}

static int refuse(struct reply *reply, const char *id, const char *why, struct error *err)
{
	return json_array_append_new(
		       reply->refused, json_pack("{s:s, s:s}", "id", id, "error", why)) < 0
		       ? fail(err, -ENOMEM, "out of memory")
		       : 0;
}

static int note_vms(struct exchange *x, struct sql *db, const struct heartbeat *h, json_t *jobs,
	struct reply *reply, struct error *err)
{
	struct error why = {0};
	json_t *item;
	size_t i;
	int r;

	json_array_foreach(h->vms, i, item)
	{
		const char *id = json_string_value(json_object_get(item, "id"));
		struct vm vm = {0};

		if (vm_parse(item, &vm, &why) < 0) {
			r = refuse(reply, id ? id : "", why.text, err);
		} else {
			r = vm_note(db, &vm, x->params[0], x->now_us, jobs, err);
			if (r == 0)
				r = refuse(reply, vm.id, "this VM is another node's", err);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int forget_vms(struct exchange *x, struct sql *db, const struct heartbeat *h, json_t *jobs,
	struct error *err)
{
	json_t *item;
	size_t i;
	int r = 0;

	if (h->full)
		return vm_forget_others(db, x->params[0], x->now_us, jobs, err);
	json_array_foreach(h->gone, i, item) if (r == 0 && json_is_string(item)) r =
		vm_forget(db, json_string_value(item), x->params[0], jobs, err);
	return r;
}

/* VMs that a node says something wrong of are worth a look. */
static int tell_refused(
	struct exchange *x, struct sql *db, const struct reply *reply, struct error *err)
{
	char actor[EVENT_ACTOR_MAX];

	if (json_array_size(reply->refused) == 0)
		return 0;
	event_actor(&x->caller, actor);
	return event_add(db, x->now_us, "node.refused", actor, actor,
		json_pack("{s:i, s:O}", "count", (int)json_array_size(reply->refused), "first",
			json_array_get(reply->refused, 0)),
		err);
}

static int tell_state(struct exchange *x, struct sql *db, const struct heartbeat *h,
	const struct known *known, struct error *err)
{
	char actor[EVENT_ACTOR_MAX];

	if (streq(known->state, h->state))
		return 0;
	event_actor(&x->caller, actor);
	return event_add(db, x->now_us, streq(h->state, "up") ? "node.up" : "node.drained", actor,
		actor, json_pack("{s:s, s:s}", "before", known->state, "reason", h->reason), err);
}

/* Returns 1, 0 if there is no such node, or negative errno. */
static int note_changes(struct exchange *x, struct sql *db, const struct heartbeat *h,
	const struct known *known, struct reply *reply, struct error *err)
{
	json_t *jobs = json_object();
	int r = jobs ? note_vms(x, db, h, jobs, reply, err) : fail(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = forget_vms(x, db, h, jobs, err);
	if (r == 0)
		r = job_count_vms(db, jobs, err);
	json_decref(jobs);
	if (r == 0)
		r = tell_refused(x, db, reply, err);
	if (r == 0)
		r = tell_state(x, db, h, known, err);
	return r < 0 ? r : note_whole(x, db, h, reply, err);
}

/* As above. What changes is only understood by who knows what was before. */
static int note(struct exchange *x, struct sql *db, const struct heartbeat *h, struct reply *reply,
	struct error *err)
{
	struct known known;
	bool quick = !h->full && json_array_size(h->vms) == 0 && json_array_size(h->gone) == 0;
	int r = quick ? note_quickly(x, db, h, reply, err) : 0;

	if (r == 0 && (r = find_known(db, x->params[0], &known, err)) > 0) {
		bool same_life = streq(known.boot, h->boot);

		reply->full = !h->full && (!same_life || streq(known.state, "lost"));
		if (reply->full || (same_life && (int64_t)h->sequence < known.sequence))
			return note_nothing(x, db, reply, err);
		return note_changes(x, db, h, &known, reply, err);
	}
	return r;
}

/* The ids of the node's leases, each with `true`. Returns 0 or negative errno. */
static int read_leases(struct sql *db, const char *node, json_t *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows, "SELECT id FROM lease WHERE node = ?1", sql_text(node));

	while (r >= 0 && (r = sql_rows_next(rows, err)) > 0)
		json_object_set_new(ret, sql_rows_text(rows, 0), json_true());
	return r;
}

/* What the node says it holds and what is noted may differ. A lease that it does not list may have
 * been given a moment ago, or be given while this answer travels: only the node itself, which
 * writes down each id before it asks, can tell one that it will never use, and gives it back. */
static int compare_leases(struct exchange *x, struct sql *db, const struct heartbeat *h,
	struct reply *reply, struct error *err)
{
	json_t *held = json_object(), *item;
	const char *id;
	size_t i;
	int r = held ? read_leases(db, x->params[0], held, err)
		     : fail(err, -ENOMEM, "out of memory");

	json_array_foreach(h->leases, i, item)
	{
		id = json_string_value(item);
		if (r < 0 || !id)
			continue;
		r = json_object_get(held, id) ? json_object_set_new(held, id, json_false())
					      : json_array_append(reply->unknown, item);
	}
	json_object_foreach(held, id, item)
	{
		if (r == 0 && json_is_true(item) && json_array_size(reply->unlisted) < UNLISTED_MAX)
			r = json_array_append_new(reply->unlisted, json_string(id));
	}
	json_decref(held);
	return r < 0 && err->code == 0 ? fail(err, -ENOMEM, "out of memory") : r;
}

/* For how long after a heartbeat the node's leases are not given to others, whatever happens. */
static json_int_t leases_kept_s(const struct exchange *x)
{
	const struct controller_settings *s = controller_get_settings(x->controller);

	return (json_int_t)((s->lost_after + s->lease_grace) / SECOND);
}

/* How often a node has to tell of itself. */
static json_int_t interval_s(const struct exchange *x)
{
	const struct controller_settings *s = controller_get_settings(x->controller);

	return (json_int_t)MAX_OF(
		MIN_OF(s->lost_after / INTERVALS_EACH / SECOND, INTERVAL_MAX_S), UINT64_C(1));
}

static int answer(struct exchange *x, const struct reply *reply)
{
	char revision[DIGEST_HEX_SIZE];
	struct error err = {0};

	if (configuration_revision(reply->configuration, revision, &err) < 0)
		return exchange_fail(x, 500, "%s", err.text);
	return exchange_answer(x, 200,
		json_pack("{s:s, s:O, s:s, s:b, s:I, s:I, s:O, s:O, s:O}", "configuration",
			revision, "drained", reply->wish, "reason", reply->reason, "full",
			reply->full, "interval_s", interval_s(x), "leases_kept_s", leases_kept_s(x),
			"leases_unknown", reply->unknown, "leases_unlisted", reply->unlisted,
			"refused", reply->refused));
}

static int run(struct exchange *x, struct sql *db)
{
	struct heartbeat h AUTO(heartbeat_done) = {0};
	struct reply reply AUTO(reply_done) = {
		.refused = json_array(), .unknown = json_array(), .unlisted = json_array()};
	struct error err = {0};
	int r, status = body_parse(x, &h);

	if (status)
		return status;
	if (!streq(x->caller.name, x->params[0]))
		return exchange_fail(x, 403, "node '%s' speaks for itself, not for '%.128s'",
			x->caller.name, x->params[0]);
	h.status_text = h.status ? json_dumps(h.status, JSON_COMPACT) : strdup("{}");
	if (!h.status_text || !reply.refused || !reply.unknown || !reply.unlisted)
		return exchange_answer(x, 500, NULL);
	if (strlen(h.status_text) > STATUS_MAX)
		return exchange_fail(x, 400, "'status' is longer than %d bytes", STATUS_MAX);
	r = note(x, db, &h, &reply, &err);
	if (r > 0 && h.leases && compare_leases(x, db, &h, &reply, &err) < 0)
		r = err.code;
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0)
		return exchange_fail(x, 404,
			"node '%.128s' was removed from the site; have it join again",
			x->params[0]);
	return answer(x, &reply);
}

const struct route heartbeat_routes[] = {
	{"POST", "/v1/nodes/{name}/heartbeat", ROUTE_WRITE, ROLE_NODE,
		"Tells that a node lives, and what has changed on it", .body = fields, .run = run},
	{.method = NULL},
};
