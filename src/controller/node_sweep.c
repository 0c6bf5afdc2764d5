/* What becomes of nodes that are not heard of any more. */
#include <errno.h>
#include <stdio.h>

#include "controller/event.h"
#include "controller/job.h"
#include "controller/lease.h"
#include "controller/node.h"
#include "controller/token.h"
#include "controller/vm.h"
#include "controller/volume.h"
#include "lib/strv.h"
#include "lib/timestamp.h"

/* Of one sweep. */
#define LOST_MAX  100
#define OWING_MAX 20
#define LEASE_MAX 500

#define DAY_US          (UINT64_C(86400) * 1000000)
#define EVENTS_KEPT_US  (30 * DAY_US)
#define JOBS_KEPT_US    (90 * DAY_US)
#define TOKENS_KEPT_US  (31 * DAY_US)
#define BEFORE(now, us) ((now) > (us) ? (now) - (us) : 0)

/* Names of nodes, which are read to the end before anything is changed. */
static int read_names(struct sql_rows *rows, struct strv *ret, struct error *err)
{
	int r;

	while ((r = sql_rows_next(rows, err)) > 0)
		strv_add(ret, sql_rows_text(rows, 0));
	return r == 0 && ret->failed ? fail(err, -ENOMEM, "out of memory") : r;
}

static int find_silent(
	struct sql *db, const struct node_sweep *s, struct strv *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT name FROM node WHERE state IN ('up', 'drained') AND seen < ?1"
		" ORDER BY name LIMIT ?2",
		sql_number((int64_t)BEFORE(s->now_us, s->lost_after_us)), sql_number(LOST_MAX));

	return r < 0 ? r : read_names(rows, ret, err);
}

static int find_owing(
	struct sql *db, const struct node_sweep *s, struct strv *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT name FROM node WHERE state = 'lost' AND state_since < ?1"
		" AND EXISTS (SELECT 1 FROM lease WHERE lease.node = node.name)"
		" ORDER BY name LIMIT ?2",
		sql_number((int64_t)BEFORE(s->now_us, s->lease_grace_us)), sql_number(OWING_MAX));

	return r < 0 ? r : read_names(rows, ret, err);
}

static int lose(struct sql *db, const char *name, uint64_t now_us, struct error *err)
{
	char subject[CALLER_NAME_MAX + 16];
	int r = sql_change(db, err,
		"UPDATE node SET state = 'lost', state_since = ?2,"
		" reason = 'it is not heard of any more' WHERE name = ?1",
		sql_text(name), sql_number((int64_t)now_us));

	if (r >= 0)
		r = vm_lose(db, name, err);
	snprintf(subject, sizeof(subject), "node:%s", name);
	return r < 0 ? r
		     : event_add(
			       db, now_us, "node.lost", subject, EVENT_ACTOR_CONTROLLER, NULL, err);
}

/* Returns 1 if there are more. */
static int lose_silent(struct sql *db, const struct node_sweep *s, struct error *err)
{
	struct strv names AUTO(strv_done) = {0};
	int r = find_silent(db, s, &names, err);

	for (size_t i = 0; i < names.count && r == 0; i++)
		r = lose(db, names.items[i], s->now_us, err);
	return r < 0 ? r : names.count == LOST_MAX;
}

static int return_leases(struct sql *db, const struct node_sweep *s, struct error *err)
{
	struct strv names AUTO(strv_done) = {0};
	int left = LEASE_MAX;
	int r = find_owing(db, s, &names, err);

	for (size_t i = 0; i < names.count && r >= 0 && left > 0; i++) {
		r = lease_return_of_node(db, s->now_us, names.items[i], left,
			EVENT_ACTOR_CONTROLLER, "the node is lost", err);
		left -= MAX_OF(r, 0);
	}
	return r < 0 ? r : left <= 0 || names.count == OWING_MAX;
}

int node_sweep(struct sql *db, const struct node_sweep *s, struct error *err)
{
	/* One that was lost before all controllers were away may be back, and nobody knows. */
	bool heard = s->now_us >= s->heard_us + s->lost_after_us;
	int lost = heard ? lose_silent(db, s, err) : 0;
	int owed = heard && lost >= 0 ? return_leases(db, s, err) : lost;
	int attached = heard && owed >= 0 ? volume_sweep(db, s->now_us,
						    BEFORE(s->now_us, s->lease_grace_us), err)
					  : owed;
	int events =
		attached < 0 ? attached : event_prune(db, BEFORE(s->now_us, EVENTS_KEPT_US), err);
	int jobs = events < 0 ? events : job_prune(db, BEFORE(s->now_us, JOBS_KEPT_US), err);

	/* One that has served is needed as long as the certificate that it has given. */
	int tokens = jobs < 0 ? jobs : token_prune(db, BEFORE(s->now_us, TOKENS_KEPT_US), err);

	if (tokens < 0)
		return tokens;
	return tokens >= TOKEN_PRUNE_MAX || lost > 0 || owed > 0 || attached == VOLUME_SWEEP_MAX ||
	       events >= EVENT_PRUNE_MAX || jobs >= JOB_PRUNE_MAX;
}
