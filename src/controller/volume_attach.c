/* Who may use a volume, and since when: one for writing, or several for reading. */
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "controller/event.h"
#include "controller/volume.h"
#include "lib/digest.h"

#define NAME_OF(column) "(SELECT " column " FROM volume WHERE volume.id = attachment.volume)"

static const struct listing_column columns[] = {
	{"id", "attachment.id", LISTING_TEXT, true, "Its id, of the node's choice"},
	{"volume", "attachment.volume", LISTING_TEXT, true, "Id of the volume"},
	{"name", NAME_OF("name"), LISTING_TEXT, false, "Name of the volume"},
	{"owner", NAME_OF("owner"), LISTING_TEXT, false, "Whose volume it is"},
	{"node", "attachment.node", LISTING_TEXT, true, "Node of the VM"},
	{"vm", "attachment.vm", LISTING_TEXT, true, "VM that it is attached to"},
	{"user", "attachment.username", LISTING_TEXT, true, "User of the VM"},
	{"read_only", "attachment.read_only", LISTING_BOOL, false, "Whether it is for reading"},
	{"generation", "attachment.generation", LISTING_NUMBER, false,
		"Its number among those of the volume"},
	{"state", "attachment.state", LISTING_TEXT, true, "attaching, attached or failed"},
	{"reason", "attachment.reason", LISTING_TEXT, false, "Why it has failed"},
	{"given", "attachment.given", LISTING_TIME, false, "When it was given"},
	{.name = NULL},
};

const struct listing attachment_listing = {
	.noun = "attachment",
	.table = "attachment",
	.columns = columns,
	.owner = "attachment.username",
	.node = "attachment.node",
};

static const char *text_of(json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

static int make_key(char ret[DIGEST_HEX_SIZE], struct error *err)
{
	uint8_t bytes[DIGEST_SIZE];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return fail(err, -EIO, "the controller has no random numbers");
	digest_format(bytes, ret);
	return 0;
}

/* Who has it already. Returns the status 409 with the reason, 0 if nobody is in the way, or
 * negative errno. */
static int check_others(
	struct sql *db, const struct volume_wish *w, json_t *volume, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT attachment.node, attachment.vm, attachment.read_only, node.state"
		" FROM attachment LEFT JOIN node ON node.name = attachment.node WHERE volume = ?1"
		" AND (read_only = 0 OR ?2 = 0) ORDER BY given LIMIT 1",
		sql_text(text_of(volume, "id")), sql_number(w->read_only));
	const char *state;

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	state = sql_rows_text(rows, 3);
	fail(err, -EBUSY, "volume '%s' is attached for %s, to VM %s on node '%s'%s",
		text_of(volume, "name"), sql_rows_number(rows, 2) ? "reading" : "writing",
		sql_rows_text(rows, 1), sql_rows_text(rows, 0),
		state && !streq(state, "lost")
			? "; it is free when that has ended"
			: ", which is lost; it is free some time later (lease_grace), or after wnodes "
			  "volume detach");
	return 409;
}

/* Can it be had at all? As above. */
static int check_volume(
	struct sql *db, const struct volume_wish *w, json_t *volume, struct error *err)
{
	const char *name = text_of(volume, "name"), *state = text_of(volume, "state");
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	const char *home;
	int r;

	if (!streq(state, "available")) {
		fail(err, -EBUSY, "volume '%s' is %s%s%s", name, state,
			text_of(volume, "reason")[0] ? ": " : "", text_of(volume, "reason"));
		return 409;
	}
	r = sql_select(db, err, &rows,
		"SELECT (SELECT state FROM node WHERE name = ?1),"
		" (SELECT count(*) FROM volume WHERE source = ?2 AND state = 'making')",
		sql_text(text_of(volume, "node")), sql_text(text_of(volume, "id")));
	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r < 0 ? r : -EIO;
	home = sql_rows_text(rows, 0);
	if (!home || streq(home, "lost")) {
		fail(err, -EHOSTDOWN, "the data of volume '%s' is on node '%s', which is %s", name,
			text_of(volume, "node"), home ? "lost" : "not of the site any more");
		return 409;
	}
	if (!w->read_only && sql_rows_number(rows, 1) > 0) {
		fail(err, -EBUSY, "volume '%s' is being copied; try again later", name);
		return 409;
	}
	return 0;
}

/* The row is the right to use it, and its generation says which is the last. */
static int give(struct exchange *x, struct sql *db, const struct volume_wish *w, json_t *volume,
	struct error *err)
{
	const char *id = text_of(volume, "id");
	char key[DIGEST_HEX_SIZE], actor[EVENT_ACTOR_MAX];
	int r = make_key(key, err);

	if (r == 0)
		r = sql_change(db, err,
			"UPDATE volume SET generation = generation + 1 WHERE id = ?1",
			sql_text(id));
	if (r >= 0)
		r = sql_change(db, err,
			"INSERT INTO attachment (id, volume, node, vm, username, read_only,"
			" generation, key, state, reason, port, given) SELECT CAST(?1 AS TEXT), id,"
			" CAST(?3 AS TEXT), CAST(?4 AS TEXT), CAST(?5 AS TEXT), CAST(?6 AS BIGINT),"
			" generation, CAST(?7 AS TEXT), 'attaching', '', 0, CAST(?8 AS BIGINT)"
			" FROM volume WHERE id = ?2",
			sql_text(w->id), sql_text(id), sql_text(x->caller.name), sql_text(w->vm),
			sql_text(w->user), sql_number(w->read_only), sql_text(key),
			sql_number((int64_t)x->now_us));
	if (r < 0)
		return r;
	r = volume_tell(db, x->now_us, "volume.attached", volume, event_actor(&x->caller, actor),
		json_pack("{s:s, s:s, s:b, s:I}", "node", x->caller.name, "vm", w->vm, "read_only",
			w->read_only, "generation",
			json_integer_value(json_object_get(volume, "generation")) + 1),
		err);
	return MIN_OF(r, 0);
}

/* Returns 1 if this wish was fulfilled before, 0, 409 if the id is of another, or negative errno.
 */
static int find_again(
	struct exchange *x, struct sql *db, const struct volume_wish *w, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(
		db, err, &rows, "SELECT node, vm FROM attachment WHERE id = ?1", sql_text(w->id));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	if (streq(sql_rows_text(rows, 0), x->caller.name) && streq(sql_rows_text(rows, 1), w->vm))
		return 1;
	fail(err, -EEXIST, "attachment '%s' is another's; take a new id", w->id);
	return 409;
}

int volume_attach(
	struct exchange *x, struct sql *db, const struct volume_wish *w, struct error *err)
{
	json_t *volume = NULL;
	int r = find_again(x, db, w, err);

	if (r != 0)
		return r == 1 ? 0 : r;
	r = volume_find(db, w->user, w->volume, &volume, err);
	if (r < 0)
		return r;
	if (r == 0 || !streq(text_of(volume, "owner"), w->user)) {
		json_decref(volume);
		fail(err, -ENOENT, "user '%s' has no volume '%s'; see wnodes volume list", w->user,
			w->volume);
		return 404;
	}
	r = check_others(db, w, volume, err);
	if (r == 0)
		r = check_volume(db, w, volume, err);
	if (r == 0)
		r = give(x, db, w, volume, err);
	json_decref(volume);
	return r;
}

int volume_detach(struct sql *db, uint64_t now_us, const char *id, const char *node,
	const char *actor, const char *reason, struct error *err)
{
	json_t *attachment = NULL;
	int r = listing_get(db, &attachment_listing, id, &attachment, NULL, err);

	if (r > 0 && node && !streq(text_of(attachment, "node"), node))
		r = 0;
	if (r > 0)
		r = sql_change(db, err, "DELETE FROM attachment WHERE id = ?1", sql_text(id));
	if (r > 0)
		r = volume_tell(db, now_us, "volume.detached", attachment, actor,
			    json_pack("{s:O, s:O, s:O, s:s}", "node",
				    json_object_get(attachment, "node"), "vm",
				    json_object_get(attachment, "vm"), "generation",
				    json_object_get(attachment, "generation"), "reason", reason),
			    err) < 0
			    ? err->code
			    : 1;
	json_decref(attachment);
	return r;
}

int volume_sweep(struct sql *db, uint64_t now_us, uint64_t before_us, struct error *err)
{
	char ids[VOLUME_SWEEP_MAX][UUID_TEXT_SIZE];
	struct sql_rows *rows = NULL;
	int count = 0, r = sql_select(db, err, &rows,
			       "SELECT attachment.id FROM attachment LEFT JOIN node"
			       " ON node.name = attachment.node WHERE node.name IS NULL"
			       " OR (node.state = 'lost' AND node.state_since < ?1)"
			       " ORDER BY attachment.id LIMIT ?2",
			       sql_number((int64_t)before_us), sql_number(VOLUME_SWEEP_MAX));

	while (r >= 0 && count < VOLUME_SWEEP_MAX && (r = sql_rows_next(rows, err)) > 0)
		snprintf(ids[count++], UUID_TEXT_SIZE, "%s", sql_rows_text(rows, 0));
	sql_rows_free(rows);
	for (int i = 0; i < count && r >= 0; i++)
		r = volume_detach(
			db, now_us, ids[i], NULL, EVENT_ACTOR_CONTROLLER, "the node is lost", err);
	return r < 0 ? r : count;
}

/* By people: the VM's writes are refused from then on, as if the disk were pulled out. */
static int run_delete(struct exchange *x, struct sql *db)
{
	struct error err = {0};
	char actor[EVENT_ACTOR_MAX];
	json_t *attachment = NULL;
	bool may = false;
	int r = listing_get(db, &attachment_listing, x->params[0], &attachment, NULL, &err);

	if (r > 0)
		may = (x->caller.roles & ROLE_ADMINISTRATOR) ||
		      streq(text_of(attachment, "owner"), x->caller.name);
	json_decref(attachment);
	if (r > 0 && may)
		r = volume_detach(db, x->now_us, x->params[0], NULL, event_actor(&x->caller, actor),
			"by hand", &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
}

#define OWNERS  (ROLE_USER | ROLE_ADMINISTRATOR)
#define READERS (ROLE_NODE | OWNERS)

const struct route volume_attach_routes[] = {
	{"GET", "/v1/attachments", ROUTE_READ, READERS, "Lists what volumes are attached to",
		.listing = &attachment_listing},
	{"GET", "/v1/attachments/{id}", ROUTE_READ, READERS, "Shows an attachment",
		.listing = &attachment_listing, .one = true},
	{"DELETE", "/v1/attachments/{id}", ROUTE_WRITE, OWNERS,
		"Takes a volume away from its VM, whose writes are refused from then on",
		.run = run_delete},
	{.method = NULL},
};
