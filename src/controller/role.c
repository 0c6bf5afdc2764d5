#include "controller/role.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "controller/authority.h"
#include "controller/body.h"
#include "controller/event.h"

#define SUBJECT_MAX (CALLER_NAME_MAX + 8)

struct role {
	char subject[SUBJECT_MAX];
	char role[16];
	char hostgroup[AUTHORITY_NAME_MAX];
};

static int check_subject(const char *text, struct error *err)
{
	const char *user = str_after(text, "user:"), *group = str_after(text, "group:");
	const char *name = user ? user : group;

	if (!name || !*name)
		return fail(err, -EINVAL, "'%s' is not user:NAME or group:NAME", text);
	for (; *name; name++)
		if (*name == ':' || (!isgraph((unsigned char)*name) && (unsigned char)*name < 0x80))
			return fail(err, -EINVAL, "'%s' has no name of a user or group", text);
	return 0;
}

static const struct field fields[] = {
	{"subject", FIELD_TEXT, offsetof(struct role, subject), .max = SUBJECT_MAX,
		.required = true, .check = check_subject,
		.help = "user:NAME, or group:NAME of the operating system's group"},
	{"role", FIELD_WORD, offsetof(struct role, role), .max = 16, .required = true,
		.words = "endorser|administrator", .help = "What the subject becomes"},
	{"hostgroup", FIELD_TEXT, offsetof(struct role, hostgroup), .max = AUTHORITY_NAME_MAX,
		.help = "The host group that is administered; the whole site without one"},
	{.name = NULL},
};

static const struct listing_column columns[] = {
	{"id", "role.id", LISTING_TEXT, false, "Its id"},
	{"subject", "role.subject", LISTING_TEXT, true, "user:NAME or group:NAME"},
	{"role", "role.role", LISTING_TEXT, true, "endorser or administrator"},
	{"hostgroup", "role.hostgroup", LISTING_TEXT, true, "The host group; '' is the site"},
	{"granted_by", "role.granted_by", LISTING_TEXT, true, "Who gave it"},
	{"granted", "role.granted", LISTING_TIME, false, "When"},
	{.name = NULL},
};

static const struct listing listing = {.noun = "role", .table = "role", .columns = columns};

static int check(struct exchange *x, struct sql *db, struct role *ret)
{
	struct error err = {0};
	int64_t count = 1;
	int r = 0, status;

	status = body_check_name(x, "role", x->params[0]);
	if (status == 0)
		status = body_parse(x, ret);
	if (status)
		return status;
	if (ret->hostgroup[0] && streq(ret->role, "endorser"))
		return exchange_fail(
			x, 400, "endorsers are of the whole site; leave out 'hostgroup'");
	if (ret->hostgroup[0])
		r = sql_get_number(db, &err, &count,
			"SELECT count(*) FROM hostgroup WHERE name = ?1", sql_text(ret->hostgroup));
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (count == 0)
		return exchange_fail(
			x, 409, "there is no host group '%s'; make it first", ret->hostgroup);
	return 0;
}

static int add_event(struct exchange *x, struct sql *db, const char *kind, const char *subject,
	const char *role, const char *hostgroup, struct error *err)
{
	char actor[EVENT_ACTOR_MAX], about[BODY_NAME_MAX + 8];
	const char *user = str_after(subject, "user:");

	snprintf(about, sizeof(about), "role:%.63s", x->params[0]);
	return event_add(db, x->now_us, kind, about, event_actor(&x->caller, actor),
		json_pack("{s:s, s:s, s:s, s:s*}", "subject", subject, "role", role, "hostgroup",
			hostgroup, "user", user),
		err);
}

static int add(struct exchange *x, struct sql *db, const struct role *role, struct error *err)
{
	int r = sql_change(db, err,
		"INSERT INTO role (id, subject, role, hostgroup, granted_by, granted)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
		sql_text(x->params[0]), sql_text(role->subject), sql_text(role->role),
		sql_text(role->hostgroup), sql_text(x->caller.name),
		sql_number((int64_t)x->now_us));

	if (r <= 0)
		return r;
	r = add_event(x, db, "role.granted", role->subject, role->role, role->hostgroup, err);
	return r < 0 ? r : 1;
}

/* Is the row of this id what was asked for? */
static bool is_same(const json_t *row, const struct role *role)
{
	return row && streq(json_string_value(json_object_get(row, "subject")), role->subject) &&
	       streq(json_string_value(json_object_get(row, "role")), role->role) &&
	       streq(json_string_value(json_object_get(row, "hostgroup")), role->hostgroup);
}

static int run_put(struct exchange *x, struct sql *db)
{
	struct role role = {0};
	struct error err = {0};
	json_t *row = NULL;
	int added, r, status = check(x, db, &role);

	if (status)
		return status;
	added = add(x, db, &role, &err);
	r = added < 0 ? added : listing_get(db, &listing, x->params[0], &row, NULL, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (!is_same(row, &role)) {
		json_decref(row);
		return exchange_fail(x, 409,
			r ? "there is another role of the id %.63s; choose another id"
			  : "'%s' has this role already, by another id",
			r ? x->params[0] : role.subject);
	}
	return exchange_answer(x, added ? 201 : 200, row);
}

static int run_delete(struct exchange *x, struct sql *db)
{
	struct error err = {0};
	json_t *row = NULL;
	int r = listing_get(db, &listing, x->params[0], &row, NULL, &err);

	if (r == 0)
		return exchange_fail(x, 404, "there is no role '%.64s'", x->params[0]);
	if (r > 0)
		r = sql_change(db, &err, "DELETE FROM role WHERE id = ?1", sql_text(x->params[0]));
	if (r > 0)
		r = add_event(x, db, "role.withdrawn",
			json_string_value(json_object_get(row, "subject")),
			json_string_value(json_object_get(row, "role")),
			json_string_value(json_object_get(row, "hostgroup")), &err);
	json_decref(row);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	x->status = 204;
	return 204;
}

const struct route role_routes[] = {
	{"GET", "/v1/roles", ROUTE_READ, ROLE_ADMINISTRATOR, "Lists who has which role",
		.listing = &listing},
	{"GET", "/v1/roles/{id}", ROUTE_READ, ROLE_ADMINISTRATOR, "Shows a role",
		.listing = &listing, .one = true},
	{"PUT", "/v1/roles/{id}", ROUTE_WRITE, ROLE_ADMINISTRATOR,
		"Gives a user, or a group of users, a role", .body = fields, .run = run_put},
	{"DELETE", "/v1/roles/{id}", ROUTE_WRITE, ROLE_ADMINISTRATOR, "Takes a role back, at once",
		.run = run_delete},
	{.method = NULL},
};
