#include "controller/staging_wave.h"

#include <errno.h>
#include <stdio.h>

#include "controller/catalogue.h"
#include "controller/event.h"
#include "controller/staging.h"
#include "lib/strv.h"
#include "lib/uuid.h"

/* A node that fetches and gets nothing for so long has failed. */
#define STALL_US (UINT64_C(900) * 1000000)

/* Stagings that one sweep looks at. */
#define SWEEP_MAX 100

static int end(
	struct sql *db, const char *id, const char *state, uint64_t now_us, struct error *err)
{
	int r = sql_change(db, err,
		"UPDATE staging SET state = ?2, ended = ?3, revision = revision + 1"
		" WHERE id = ?1 AND state = 'running'",
		sql_text(id), sql_text(state), sql_number((int64_t)now_us));

	return r;
}

static int count(struct sql *db, const char *id, const char *state, int64_t *ret, struct error *err)
{
	return MIN_OF(sql_get_number(db, err, ret,
			      "SELECT count(*) FROM staging_node WHERE staging = ?1 AND state = ?2",
			      sql_text(id), sql_text(state)),
		0);
}

static int finish(struct sql *db, const char *id, uint64_t now_us, struct error *err)
{
	char subject[UUID_TEXT_SIZE + 16];
	int64_t done, failed;
	int r = end(db, id, "done", now_us, err);

	if (r <= 0)
		return r;
	r = count(db, id, "done", &done, err);
	if (r == 0)
		r = count(db, id, "failed", &failed, err);
	snprintf(subject, sizeof(subject), "staging:%s", id);
	return r < 0 ? r
		     : event_add(db, now_us, "staging.done", subject, EVENT_ACTOR_CONTROLLER,
			       json_pack("{s:I, s:I}", "done", (json_int_t)done, "failed",
				       (json_int_t)failed),
			       err);
}

/* How many nodes may begin. Returns 1, 0 if it is not running, or negative errno. */
static int get_room(struct sql *db, const char *id, int64_t *ret, struct error *err)
{
	return sql_get_number(db, err, ret,
		"SELECT wave - (SELECT count(*) FROM staging_node WHERE staging = ?1"
		" AND state = 'fetching') FROM staging WHERE id = ?1 AND state = 'running'",
		sql_text(id));
}

/* Returns how many, or negative errno. */
static int begin(struct sql *db, const char *id, int64_t room, uint64_t now_us, struct error *err)
{
	if (room <= 0)
		return 0;
	return sql_change(db, err,
		"UPDATE staging_node SET state = 'fetching', since = ?2 WHERE staging = ?1"
		" AND node IN (SELECT node FROM staging_node WHERE staging = ?1"
		" AND state = 'waiting' ORDER BY node LIMIT ?3)",
		sql_text(id), sql_number((int64_t)now_us), sql_number(room));
}

int staging_advance(struct sql *db, const char *id, uint64_t now_us, struct error *err)
{
	int64_t room, left = 0;
	int r = get_room(db, id, &room, err);

	if (r <= 0)
		return r;
	r = begin(db, id, room, now_us, err);
	if (r > 0)
		r = catalogue_touch(db, err);
	if (r == 0)
		r = sql_get_number(db, err, &left,
			"SELECT count(*) FROM staging_node WHERE staging = ?1"
			" AND state IN ('waiting', 'fetching')",
			sql_text(id));
	if (r >= 0 && left == 0)
		r = finish(db, id, now_us, err);
	return MIN_OF(r, 0);
}

int staging_cancel(struct exchange *x, struct sql *db, const char *id, struct error *err)
{
	char actor[EVENT_ACTOR_MAX], subject[EXCHANGE_PARAM_MAX + 16];
	int r = sql_change(db, err,
		"UPDATE staging SET state = 'cancelled', revision = revision + 1, ended ="
		" CASE WHEN ended = 0 THEN ?2 ELSE ended END"
		" WHERE id = ?1 AND state <> 'cancelled'",
		sql_text(id), sql_number((int64_t)x->now_us));

	if (r <= 0)
		return r;
	snprintf(subject, sizeof(subject), "staging:%s", id);
	r = event_add(db, x->now_us, "staging.cancelled", subject, event_actor(&x->caller, actor),
		NULL, err);
	return r < 0 ? r : catalogue_touch(db, err);
}

/* Ids that a statement gives, read to the end before anything is changed. */
static int read_ids(struct sql_rows *rows, struct strv *ret, struct error *err)
{
	int r;

	while ((r = sql_rows_next(rows, err)) > 0)
		strv_add(ret, sql_rows_text(rows, 0));
	return r == 0 && ret->failed ? fail(err, -ENOMEM, "out of memory") : r;
}

static int advance_all(struct sql *db, const struct strv *ids, uint64_t now_us, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < ids->count && r == 0; i++)
		r = staging_advance(db, ids->items[i], now_us, err);
	return r;
}

static int find_of_node(struct sql *db, const char *node, struct strv *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT DISTINCT n.staging FROM staging_node n JOIN staging s ON s.id = n.staging"
		" JOIN node_image i ON i.node = n.node AND i.digest = s.digest"
		" WHERE n.node = ?1 AND s.state = 'running' AND ((n.state = 'fetching'"
		" AND i.state IN ('complete', 'failed')) OR (n.state = 'waiting'"
		" AND i.state = 'complete'))",
		sql_text(node));

	return r < 0 ? r : read_ids(rows, ret, err);
}

int staging_note_node(struct sql *db, const char *node, uint64_t now_us, struct error *err)
{
	struct strv ids AUTO(strv_done) = {0};
	int r = find_of_node(db, node, &ids, err);

	for (size_t i = 0; i < ids.count && r >= 0; i++)
		r = sql_change(db, err,
			"UPDATE staging_node SET since = ?3, state = (SELECT CASE i.state WHEN"
			" 'complete' THEN 'done' ELSE 'failed' END FROM node_image i JOIN staging s"
			" ON s.digest = i.digest WHERE s.id = ?1 AND i.node = ?2), reason ="
			" (SELECT i.reason FROM node_image i JOIN staging s ON s.digest = i.digest"
			" WHERE s.id = ?1 AND i.node = ?2) WHERE staging = ?1 AND node = ?2",
			sql_text(ids.items[i]), sql_text(node), sql_number((int64_t)now_us));
	return r < 0 ? r : advance_all(db, &ids, now_us, err);
}

static int find_running(struct sql *db, struct strv *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT id FROM staging WHERE state = 'running' ORDER BY id LIMIT ?1",
		sql_number(SWEEP_MAX));

	return r < 0 ? r : read_ids(rows, ret, err);
}

/* Nodes of a staging that will not get the image. */
static int fail_lost(struct sql *db, const char *id, uint64_t now_us, struct error *err)
{
	int r = sql_change(db, err,
		"UPDATE staging_node SET state = 'failed', since = ?2, reason ="
		" coalesce((SELECT 'the node is ' || n.state FROM node n WHERE"
		" n.name = staging_node.node), 'the node was removed') WHERE staging = ?1"
		" AND state IN ('waiting', 'fetching') AND NOT EXISTS (SELECT 1 FROM node n"
		" WHERE n.name = staging_node.node AND n.state IN ('up', 'drained', 'joined'))",
		sql_text(id), sql_number((int64_t)now_us));

	if (r < 0)
		return r;
	return sql_change(db, err,
		"UPDATE staging_node SET state = 'failed', since = ?2,"
		" reason = 'nothing has come for a quarter of an hour' WHERE staging = ?1"
		" AND state = 'fetching' AND since < ?3 AND NOT EXISTS (SELECT 1 FROM node_image i"
		" JOIN staging s ON s.digest = i.digest WHERE s.id = ?1"
		" AND i.node = staging_node.node AND i.updated >= ?3)",
		sql_text(id), sql_number((int64_t)now_us),
		sql_number((int64_t)(now_us > STALL_US ? now_us - STALL_US : 0)));
}

/* Of an image that nothing starts from any more, the staging ends. */
static int end_useless(struct sql *db, uint64_t now_us, struct error *err)
{
	return sql_change(db, err,
		"UPDATE staging SET state = 'cancelled', ended = ?1, revision = revision + 1"
		" WHERE state = 'running' AND EXISTS (SELECT 1 FROM image"
		" WHERE image.digest = staging.digest AND image.state <> 'approved')",
		sql_number((int64_t)now_us));
}

int staging_sweep(struct sql *db, uint64_t now_us, struct error *err)
{
	struct strv ids AUTO(strv_done) = {0};
	int r = find_running(db, &ids, err);

	if (r == 0 && ids.count > 0)
		r = end_useless(db, now_us, err);
	for (size_t i = 0; i < ids.count && r >= 0; i++)
		r = fail_lost(db, ids.items[i], now_us, err);
	return r < 0 ? r : advance_all(db, &ids, now_us, err);
}
