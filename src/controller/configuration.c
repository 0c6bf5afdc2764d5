#include "controller/configuration.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/configuration_fit.h"
#include "controller/configuration_text.h"
#include "controller/event.h"

static const struct listing_column columns[] = {
	{"scope", "configuration.scope", LISTING_TEXT, true,
		"Whose it is: 'site', 'group:NAME' or 'node:NAME'"},
	{"text", "configuration.text", LISTING_TEXT, false, "As wnodes.conf"},
	{"changed_by", "configuration.changed_by", LISTING_TEXT, true, "Who changed it last"},
	{"changed", "configuration.changed", LISTING_TIME, false, "When"},
	{"revision", "configuration.revision", LISTING_NUMBER, false, "Its ETag"},
	{.name = NULL},
};

const struct listing configuration_listing = {
	.noun = "configuration",
	.table = "configuration",
	.columns = columns,
	.revision = "configuration.revision",
};

struct wish {
	const char *text;
};

static const struct field wish_fields[] = {
	{"text", FIELD_LINES, offsetof(struct wish, text), 0, CONFIGURATION_TEXT_MAX, true, NULL,
		"As wnodes.conf"},
	{.name = NULL},
};

int configuration_read(const struct sql_rows *rows, int column, char **ret, struct error *err)
{
	const char *texts[CONFIGURATION_SCOPES];

	for (int i = 0; i < CONFIGURATION_SCOPES; i++)
		texts[i] = sql_rows_text(rows, column + i);
	return configuration_merge(texts, ret, err);
}

/* The host group of a node. Returns 1 with a new text, 0 if there is no such node, or -errno. */
static int find_group(struct sql *db, const char *node, char **ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(
		db, err, &rows, "SELECT hostgroup FROM node WHERE name = ?1", sql_text(node));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	*ret = strdup(sql_rows_text(rows, 0));
	return *ret ? 1 : fail(err, -ENOMEM, "out of memory");
}

/* Which host group a scope is of: a new text, "" for none. Returns 1, 0 if there is no such scope,
 * or negative errno. */
static int find_scope(struct sql *db, const char *scope, char **ret, struct error *err)
{
	const char *group = str_after(scope, "group:"), *node = str_after(scope, "node:");
	int64_t there;
	int r;

	if (node)
		return find_group(db, node, ret, err);
	if (!group && !streq(scope, "site"))
		return 0;
	r = group ? sql_get_number(db, err, &there, "SELECT 1 FROM hostgroup WHERE name = ?1",
			    sql_text(group))
		  : 1;
	if (r <= 0)
		return r;
	*ret = strdup(group ? group : "");
	return *ret ? 1 : fail(err, -ENOMEM, "out of memory");
}

/* May the caller look at it and change it? Returns 0, or the status with the error said. */
static int check_scope(struct exchange *x, struct sql *db)
{
	autofree char *group = NULL;
	struct error err = {0};
	int r = find_scope(db, x->params[0], &group, &err);

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0)
		return exchange_fail(x, 404,
			"there is no '%.128s'; a configuration is that of 'site', or of 'group:NAME' or "
			"'node:NAME' of a host group or node that there is",
			x->params[0]);
	if (caller_administers(&x->caller, group))
		return 0;
	return exchange_fail(x, 403, "you do not administer '%.128s'", x->params[0]);
}

static int run_get(struct exchange *x, struct sql *db)
{
	int status = check_scope(x, db);

	return status ? status : listing_run(x, db);
}

static int tell(struct exchange *x, struct sql *db, const char *kind, struct error *err)
{
	char actor[EVENT_ACTOR_MAX], subject[sizeof(x->params[0]) + 16];

	snprintf(subject, sizeof(subject), "configuration:%s", x->params[0]);
	return event_add(db, x->now_us, kind, subject, event_actor(&x->caller, actor), NULL, err);
}

static int answer(struct exchange *x, struct sql *db, int status)
{
	struct error err = {0};
	int64_t revision;
	json_t *row;
	int r = listing_get(db, &configuration_listing, x->params[0], &row, &revision, &err);

	if (r <= 0)
		return exchange_fail_sql(x, r < 0 ? r : -EIO, &err);
	exchange_set_etag(x, revision);
	return exchange_answer(x, status, row);
}

/* A revision is never used again, also of a text that was removed and comes anew: it begins with
 * the time. */
static int store(struct exchange *x, struct sql *db, const char *text, bool exists)
{
	struct error err = {0};
	int r = sql_change(db, &err,
		"INSERT INTO configuration (scope, text, changed_by, changed, revision)"
		" VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (scope) DO UPDATE SET"
		" text = excluded.text, changed_by = excluded.changed_by,"
		" changed = excluded.changed, revision = configuration.revision + 1",
		sql_text(x->params[0]), sql_text(text), sql_text(x->caller.name),
		sql_number((int64_t)x->now_us));

	if (r >= 0)
		r = tell(x, db, "configuration.changed", &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : answer(x, db, exists ? 200 : 201);
}

/* Who sends the same again, having lost the answer, has an ETag from before. */
static int put(struct exchange *x, struct sql *db, const char *text, json_t *row, int64_t revision)
{
	const char *there = json_string_value(json_object_get(row, "text"));
	int status = 0;

	if (there && streq(there, text))
		return answer(x, db, 200);
	if (there || x->if_match)
		status = exchange_check_match(x, revision);
	return status ? status : store(x, db, text, there);
}

/* Is it a text that all nodes which get it will take? Returns 0 or the status. */
static int check_text(struct exchange *x, struct sql *db, const char *text)
{
	struct error err = {0};
	int r = configuration_check(text, x->caller.roles & ROLE_ADMINISTRATOR, &err);

	if (r < 0)
		return exchange_fail(x, 400, "the configuration is wrong: %s", err.text);
	r = configuration_fits(db, x->params[0], text, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return r > 0 ? 0 : exchange_fail(x, 400, "the configuration is too large: %s", err.text);
}

static int run_put(struct exchange *x, struct sql *db)
{
	struct wish wish = {0};
	struct error err = {0};
	int64_t revision = 0;
	json_t *row = NULL;
	int r, status = check_scope(x, db);

	if (status == 0)
		status = body_parse(x, &wish);
	if (status == 0)
		status = check_text(x, db, wish.text);
	if (status)
		return status;
	r = listing_get(db, &configuration_listing, x->params[0], &row, &revision, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	status = put(x, db, wish.text, row, revision);
	json_decref(row);
	return status;
}

static int run_delete(struct exchange *x, struct sql *db)
{
	struct error err = {0};
	int64_t revision;
	int r, status = check_scope(x, db);

	if (status)
		return status;
	r = sql_get_number(db, &err, &revision,
		"SELECT revision FROM configuration WHERE scope = ?1", sql_text(x->params[0]));
	if (r == 0)
		return exchange_answer_nothing(x);
	status = r < 0 ? 0 : exchange_check_match(x, revision);
	if (status)
		return status;
	if (r > 0)
		r = sql_change(db, &err, "DELETE FROM configuration WHERE scope = ?1",
			sql_text(x->params[0]));
	if (r > 0)
		r = tell(x, db, "configuration.removed", &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
}

/* Returns 1 with the text that a node is to have, 0 if there is no such node, or negative errno. */
static int read_node(struct sql *db, const char *node, char **ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT " CONFIGURATION_COLUMNS " FROM node WHERE name = ?1", sql_text(node));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r > 0 && configuration_read(rows, 0, ret, err) < 0)
		return -ENOMEM;
	return r;
}

static int check_node(struct exchange *x, struct sql *db)
{
	autofree char *group = NULL;
	struct error err = {0};
	int r;

	if (x->caller.kind == CALLER_NODE)
		return streq(x->caller.name, x->params[0])
			       ? 0
			       : exchange_fail(x, 403, "a node reads its own configuration");
	r = find_group(db, x->params[0], &group, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r > 0 && !caller_administers(&x->caller, group))
		return exchange_fail(x, 403,
			"node '%.128s' is not in a host group that you administer", x->params[0]);
	return 0;
}

static int run_get_node(struct exchange *x, struct sql *db)
{
	char revision[DIGEST_HEX_SIZE];
	autofree char *text = NULL;
	struct error err = {0};
	int r, status = check_node(x, db);

	if (status)
		return status;
	r = read_node(db, x->params[0], &text, &err);
	if (r == 0)
		return exchange_fail(x, 404, "there is no node '%.128s'", x->params[0]);
	if (r > 0)
		r = configuration_revision(text, revision, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return exchange_answer(x, 200, json_pack("{s:s, s:s}", "revision", revision, "text", text));
}

#define ADMINISTRATORS (ROLE_GROUP_ADMIN | ROLE_ADMINISTRATOR)

const struct route configuration_routes[] = {
	{"GET", "/v1/configuration", ROUTE_READ, ROLE_ADMINISTRATOR,
		"Lists the texts of the central configuration", .listing = &configuration_listing},
	{"GET", "/v1/configuration/{scope}", ROUTE_READ, ADMINISTRATORS,
		"Shows the text of the site, a host group or a node",
		.listing = &configuration_listing, .one = true, .run = run_get},
	{"PUT", "/v1/configuration/{scope}", ROUTE_WRITE, ADMINISTRATORS,
		"Sets the text of the site, a host group or a node", .body = wish_fields,
		.listing = &configuration_listing, .one = true, .matches = true, .run = run_put},
	{"DELETE", "/v1/configuration/{scope}", ROUTE_WRITE, ADMINISTRATORS,
		"Removes the text of the site, a host group or a node", .matches = true,
		.run = run_delete},
	{"GET", "/v1/nodes/{name}/configuration", ROUTE_READ, ROLE_NODE | ADMINISTRATORS,
		"What a node is to have: all texts that are for it, joined", .run = run_get_node},
	{.method = NULL},
};
