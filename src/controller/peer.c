#include "controller/peer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "controller/body.h"
#include "controller/controller.h"
#include "controller/event.h"
#include "controller/image.h"
#include "controller/roster.h"

/* Named at a time: more than a node has slots for. */
#define PEERS_MAX 20

/* Of the caller's rack, as long as there are others: if nodes knew those of their own rack alone,
 * an origin would have to send an image once for each rack. */
#define NEAR_MAX 10

/* A node tells every 15 s what it has. */
#define SEEN_US (UINT64_C(45) * 1000000)

/* For how long a complaint counts. One node alone makes nobody's name bad but for itself, as it may
 * be the one that is wrong. */
#define REPORT_US   (UINT64_C(600) * 1000000)
#define REPORTS_MAX 2

/* A node that complains without end does not fill the events. */
#define REPORT_EVENT_US (UINT64_C(60) * 1000000)

struct report {
	char peer[CALLER_NAME_MAX];
	char chunk[DIGEST_HEX_SIZE];
	char reason[IMAGE_REASON_MAX];
};

static const struct field report_fields[] = {
	{"peer", FIELD_TEXT, offsetof(struct report, peer), 0, CALLER_NAME_MAX, true, NULL,
		"The node that has sent it"},
	{"chunk", FIELD_DIGEST, offsetof(struct report, chunk), 0, 0, false, NULL,
		"Id of the chunk that was asked for"},
	{"reason", FIELD_TEXT, offsetof(struct report, reason), 0, IMAGE_REASON_MAX, true, NULL,
		"What is wrong with it"},
	{.name = NULL},
};

static void take_node(const struct sql_rows *rows, struct roster_node *ret)
{
	snprintf(ret->name, sizeof(ret->name), "%s", sql_rows_text(rows, 0));
	snprintf(ret->address, sizeof(ret->address), "%s", sql_rows_text(rows, 1));
	snprintf(ret->rack, sizeof(ret->rack), "%s", sql_rows_text(rows, 2));
	ret->complete = streq(sql_rows_text(rows, 3), "complete");
	ret->done = sql_rows_number(rows, 4);
}

/* All who have something of the image and a good name. */
static int read_roster(struct exchange *x, struct sql *db, struct roster *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT p.node, p.address, p.rack, i.state, i.done FROM node_image i"
		" JOIN porter p ON p.node = i.node JOIN node n ON n.name = i.node"
		" WHERE i.digest = ?1 AND i.done > 0 AND i.state IN ('complete', 'fetching')"
		" AND p.address <> '' AND p.seen > ?2 AND n.state IN ('up', 'drained')"
		" AND (SELECT count(*) FROM peer_report r WHERE r.peer = p.node AND r.time > ?3)"
		" < ?4 ORDER BY random() LIMIT ?5",
		sql_text(ret->digest), sql_number((int64_t)(x->now_us - SEEN_US)),
		sql_number((int64_t)(x->now_us - REPORT_US)), sql_number(REPORTS_MAX),
		sql_number(ROSTER_MAX));

	while (r >= 0 && ret->count < ROSTER_MAX && (r = sql_rows_next(rows, err)) > 0)
		take_node(rows, &ret->nodes[ret->count++]);
	return MIN_OF(r, 0);
}

/* Returns 0 and a reference. */
static int get_roster(struct exchange *x, struct sql *db, struct roster **ret, struct error *err)
{
	struct rosters *rosters = x->controller->rosters;
	struct roster *fresh AUTO(roster_unrefp) = NULL;
	int r;

	*ret = rosters_find(rosters, x->params[0], x->now_us);
	if (*ret)
		return 0;
	fresh = roster_new(x->params[0], x->now_us);
	r = fresh ? read_roster(x, db, fresh, err) : fail(err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	rosters_add(rosters, fresh);
	*ret = TAKE_PTR(fresh);
	return 0;
}

/* What matters of who asks. */
struct asker {
	const char *name;
	char rack[CALLER_NAME_MAX];
	json_t *shunned; /* names: of whom it has complained */
	uint64_t random;
};

static int get_asker(struct exchange *x, struct sql *db, struct asker *ret, struct error *err)
{
	struct sql_rows *racks AUTO(sql_rows_freep) = NULL, *reports AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &racks, "SELECT rack FROM porter WHERE node = ?1",
		sql_text(x->caller.name));

	if (r >= 0 && (r = sql_rows_next(racks, err)) > 0)
		snprintf(ret->rack, sizeof(ret->rack), "%s", sql_rows_text(racks, 0));
	if (r >= 0)
		r = sql_select(db, err, &reports,
			"SELECT peer FROM peer_report WHERE node = ?1 AND time > ?2",
			sql_text(x->caller.name), sql_number((int64_t)(x->now_us - REPORT_US)));
	while (r >= 0 && (r = sql_rows_next(reports, err)) > 0)
		json_object_set_new(ret->shunned, sql_rows_text(reports, 0), json_true());
	return MIN_OF(r, 0);
}

static size_t next_random(struct asker *a, size_t below)
{
	a->random ^= a->random >> 12;
	a->random ^= a->random << 25;
	a->random ^= a->random >> 27;
	return (size_t)(a->random * UINT64_C(2685821657736338717) >> 11) % below;
}

/* Adds some at random, so that all carry the same: of the asker's rack, or of others. */
static int add_peers(const struct roster *r, struct asker *a, bool near, json_t *peers)
{
	const struct roster_node *chosen[PEERS_MAX];
	size_t fit = 0;

	for (size_t i = 0; i < r->count; i++) {
		const struct roster_node *n = &r->nodes[i];
		size_t place = fit;

		if (streq(n->name, a->name) || json_object_get(a->shunned, n->name) ||
			near != (n->rack[0] && streq(n->rack, a->rack)))
			continue;
		if (++fit > PEERS_MAX)
			place = next_random(a, fit);
		if (place < PEERS_MAX)
			chosen[place] = n;
	}
	for (size_t i = 0; i < MIN_OF(fit, (size_t)PEERS_MAX); i++)
		if (json_array_append_new(
			    peers, json_pack("{s:s, s:s, s:s, s:s, s:f}", "node", chosen[i]->name,
					   "address", chosen[i]->address, "rack", chosen[i]->rack,
					   "state", chosen[i]->complete ? "complete" : "fetching",
					   "done", (double)chosen[i]->done / 1000)) < 0)
			return -ENOMEM;
	return 0;
}

/* Some of the near ones, the far ones, and as many of the other near ones as there is room for. */
static void mix(json_t *near, json_t *far)
{
	size_t first = MIN_OF(json_array_size(near), (size_t)NEAR_MAX);

	for (size_t i = 0; i < json_array_size(far) && json_array_size(near) < 2 * PEERS_MAX; i++)
		json_array_insert(near, first + i, json_array_get(far, i));
	while (json_array_size(near) > PEERS_MAX)
		json_array_remove(near, json_array_size(near) - 1);
}

static int choose(struct exchange *x, struct sql *db, json_t *peers, json_t *far, struct error *err)
{
	struct roster *roster AUTO(roster_unrefp) = NULL;
	struct asker asker = {.name = x->caller.name, .shunned = json_object()};
	int r = get_asker(x, db, &asker, err);

	if (getrandom(&asker.random, sizeof(asker.random), GRND_NONBLOCK) < 0)
		asker.random = x->now_us;
	asker.random |= 1;
	if (r == 0)
		r = get_roster(x, db, &roster, err);
	if (r == 0)
		r = add_peers(roster, &asker, true, peers);
	if (r == 0)
		r = add_peers(roster, &asker, false, far);
	json_decref(asker.shunned);
	return r;
}

static int run_get(struct exchange *x, struct sql *db)
{
	json_t *peers = json_array(), *far = json_array();
	struct error err = {0};
	int r = peers && far ? choose(x, db, peers, far, &err) : -ENOMEM;

	if (r == 0)
		mix(peers, far);
	json_decref(far);
	if (r < 0) {
		json_decref(peers);
		return exchange_fail_sql(x, r, &err);
	}
	return exchange_answer(x, 200, json_pack("{s:o}", "peers", peers));
}

/* When this node has last complained of that one; 0: not yet. */
static int get_last(
	struct exchange *x, struct sql *db, const char *peer, int64_t *ret, struct error *err)
{
	*ret = 0;
	return MIN_OF(sql_get_number(db, err, ret,
			      "SELECT time FROM peer_report WHERE peer = ?1 AND node = ?2",
			      sql_text(peer), sql_text(x->caller.name)),
		0);
}

static int note(struct exchange *x, struct sql *db, const struct report *report, struct error *err)
{
	char actor[EVENT_ACTOR_MAX], subject[CALLER_NAME_MAX + 8];
	int64_t last;
	int r = get_last(x, db, report->peer, &last, err);

	if (r == 0)
		r = sql_change(db, err,
			"INSERT INTO peer_report (peer, node, chunk, reason, time) VALUES (?1, ?2,"
			" ?3, ?4, ?5) ON CONFLICT (peer, node) DO UPDATE SET"
			" chunk = excluded.chunk, reason = excluded.reason, time = excluded.time",
			sql_text(report->peer), sql_text(x->caller.name), sql_text(report->chunk),
			sql_text(report->reason), sql_number((int64_t)x->now_us));
	if (r < 0 || last > (int64_t)(x->now_us - REPORT_EVENT_US))
		return MIN_OF(r, 0);
	snprintf(subject, sizeof(subject), "node:%s", report->peer);
	return event_add(db, x->now_us, "node.reported", subject, event_actor(&x->caller, actor),
		json_pack("{s:s, s:s}", "chunk", report->chunk, "reason", report->reason), err);
}

static int run_report(struct exchange *x, struct sql *db)
{
	struct report report = {0};
	struct error err = {0};
	int64_t there;
	int r, status = body_parse(x, &report);

	if (status)
		return status;
	if (!streq(x->caller.name, x->params[0]))
		return exchange_fail(x, 403, "node '%s' speaks for itself, not for '%.128s'",
			x->caller.name, x->params[0]);
	r = sql_get_number(
		db, &err, &there, "SELECT 1 FROM porter WHERE node = ?1", sql_text(report.peer));
	if (r == 0)
		return exchange_fail(
			x, 404, "there is no node '%s' that serves images", report.peer);
	if (r > 0)
		r = note(x, db, &report, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
}

const struct route peer_routes[] = {
	{"GET", "/v1/images/{digest}/peers", ROUTE_READ, ROLE_NODE,
		"Names nodes that have an image or some of it, some of the same rack first",
		.run = run_get},
	{"POST", "/v1/nodes/{name}/images/report", ROUTE_WRITE, ROLE_NODE,
		"Complains of a node that has sent a chunk which is wrong", .body = report_fields,
		.run = run_report},
	{.method = NULL},
};
