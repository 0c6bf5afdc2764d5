/* Which state an image may go to, who may have it go there, and what goes with it. */
#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/controller.h"
#include "controller/event.h"
#include "controller/image.h"
#include "controller/image_history.h"
#include "controller/image_tag.h"
#include "lib/timestamp.h"

#define VMS_MAX 1000 /* that a revocation lists */

enum state {
	PENDING = 1 << 0,
	ENDORSED = 1 << 1,
	APPROVED = 1 << 2,
	EXPIRED = 1 << 3,
	REVOKED = 1 << 4,
};

static const struct {
	const char *name;
	enum state state;
} states[] = {
	{"pending", PENDING},
	{"endorsed", ENDORSED},
	{"approved", APPROVED},
	{"expired", EXPIRED},
	{"revoked", REVOKED},
};

struct wish {
	char reason[IMAGE_REASON_MAX];
	uint64_t expires_us;
};

static const struct field wish_fields[] = {
	{"reason", FIELD_TEXT, offsetof(struct wish, reason), 0, IMAGE_REASON_MAX, true, NULL,
		"Why; it is kept for ever"},
	{"expires", FIELD_TIME, offsetof(struct wish, expires_us), 0, 0, false, NULL,
		"Until when the image is good"},
	{.name = NULL},
};

/* An image as it is, and what is asked of it. Texts are the row's. */
struct subject {
	json_t *row;
	const char *digest, *name, *tag, *owner, *endorsed_by;
	enum state state;
	bool private;
	uint64_t expires_us; /* 0: never */
	struct wish wish;
};

/* Values: ?1 the image, ?2 who, ?3 when, ?4 why, ?5 until when it is good. A private image is good
 * for its owner all the time, so that an endorsement does not take it from him. */
#define CHANGED \
	" changed_by = ?2, reason = ?4, expires = ?5, revision = revision + 1 WHERE digest = ?1"

static const char endorse_sql[] =
	"UPDATE image SET state = CASE WHEN private = 1 THEN state ELSE 'endorsed' END,"
	" state_since = CASE WHEN private = 1 THEN state_since ELSE ?3 END,"
	" endorsed_by = ?2, endorsed = ?3," CHANGED;
static const char approve_sql[] =
	"UPDATE image SET state_since = CASE WHEN state = 'approved' AND private = 0"
	" THEN state_since ELSE ?3 END, state = 'approved', private = 0, approved_by = ?2,"
	" approved = ?3," CHANGED;
static const char expire_sql[] = "UPDATE image SET state = 'expired', state_since = ?3," CHANGED;
/* The time is used in each, so that PostgreSQL knows of what type it is. */
static const char limit_sql[] =
	"UPDATE image SET state_since = CASE WHEN state_since > ?3 THEN ?3 ELSE state_since END," CHANGED;
static const char revoke_sql[] = "UPDATE image SET state = 'revoked', state_since = ?3," CHANGED;

static const char *text_of(json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

static void read_row(json_t *row, struct subject *ret)
{
	const char *state = text_of(row, "state"), *expires = text_of(row, "expires");

	ret->row = row;
	ret->digest = text_of(row, "digest");
	ret->name = text_of(row, "name");
	ret->tag = text_of(row, "tag");
	ret->owner = text_of(row, "owner");
	ret->endorsed_by = text_of(row, "endorsed_by");
	ret->private = json_is_true(json_object_get(row, "private"));
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (streq(states[i].name, state))
			ret->state = states[i].state;
	if (!expires[0] || timestamp_parse(expires, &ret->expires_us) < 0)
		ret->expires_us = 0;
}

static void subject_done(struct subject *s)
{
	json_decref(s->row);
}

/* The image and what is asked. Returns 0, or the status with the error said. */
static int find(struct exchange *x, struct sql *db, struct subject *ret)
{
	json_t *row = NULL;
	int64_t revision;
	int status = body_parse(x, &ret->wish);

	if (status == 0)
		status = image_find(x, db, x->params[0], &row, &revision);
	if (status)
		return status;
	read_row(row, ret);
	return 0;
}

static int check_match(struct exchange *x, const struct subject *s)
{
	return exchange_check_match(x, json_integer_value(json_object_get(s->row, "revision")));
}

static bool is_by_caller(const struct exchange *x, const char *who)
{
	return x->caller.kind == CALLER_USER && streq(x->caller.name, who);
}

static int change(struct exchange *x, struct sql *db, const struct subject *s, const char *sql,
	const char *action, uint64_t expires_us, struct error *err)
{
	char until[TIMESTAMP_TEXT_SIZE];
	const struct image_change line = {
		.action = action,
		.digest = s->digest,
		.name = s->name,
		.reason = s->wish.reason,
		.owner = s->private && sql != approve_sql ? s->owner : NULL,
		.detail = json_pack("{s:s, s:s*}", "before", text_of(s->row, "state"), "expires",
			expires_us > 0 ? timestamp_format(expires_us, until) : NULL),
	};
	const struct sql_value values[] = {sql_text(s->digest), sql_text(x->caller.name),
		sql_number((int64_t)x->now_us), sql_text(s->wish.reason),
		sql_number((int64_t)expires_us)};
	int r = sql_change_values(db, err, sql, values, ARRAY_SIZE(values));

	if (r < 0) {
		json_decref(line.detail);
		return r;
	}
	return image_history_add(x, db, x->now_us, &line, err);
}

static int answer(
	struct exchange *x, struct sql *db, const struct subject *s, int r, const struct error *err)
{
	return r < 0 ? exchange_fail_sql(x, r, err) : image_answer(x, db, 200, s->digest);
}

/* A date that has passed is nothing to be given. Returns 0, or the status with the error said. */
static int check_expires(struct exchange *x, const struct subject *s)
{
	return s->wish.expires_us > 0 && s->wish.expires_us <= x->now_us
		       ? exchange_fail(x, 400, "'expires' has passed already")
		       : 0;
}

static int run_endorse(struct exchange *x, struct sql *db)
{
	struct subject s AUTO(subject_done) = {0};
	struct error err = {0};
	int status = find(x, db, &s);
	bool again = s.endorsed_by && is_by_caller(x, s.endorsed_by);
	uint64_t until = s.wish.expires_us > 0 ? s.wish.expires_us : s.expires_us;

	if (status)
		return status;
	if (again && (s.state == ENDORSED || s.private))
		return answer(x, db, &s, 0, &err);
	status = check_match(x, &s);
	if (status == 0)
		status = check_expires(x, &s);
	if (status)
		return status;
	if (s.state != PENDING && !(s.private && s.state == APPROVED && !s.endorsed_by[0]))
		return exchange_fail(x, 409,
			"image '%s' is %s%s; only a pending one, or a private one that nobody has "
			"endorsed, is endorsed",
			s.name, text_of(s.row, "state"),
			s.private && s.endorsed_by[0] ? " and endorsed" : "");
	return answer(x, db, &s, change(x, db, &s, endorse_sql, "endorsed", until, &err), &err);
}

/* Returns 0, or the status with the error said. */
static int check_approve(struct exchange *x, const struct subject *s)
{
	const struct controller_settings *settings = controller_get_settings(x->controller);

	if (s->state == REVOKED)
		return exchange_fail(x, 409,
			"image '%s' is revoked, which is for ever; publish another", s->name);
	if (!s->endorsed_by[0])
		return exchange_fail(x, 409,
			"nobody has endorsed image '%s'; have an endorser do it (POST "
			"/v1/images/%s/endorse)",
			s->name, s->digest);
	if (settings->four_eyes && is_by_caller(x, s->endorsed_by))
		return exchange_fail(x, 403,
			"you have endorsed image '%s', so another administrator has to approve it "
			"(four_eyes)",
			s->name);
	if (s->state == EXPIRED && s->wish.expires_us == 0)
		return exchange_fail(x, 409,
			"image '%s' is expired; say until when it is to be good again ('expires')",
			s->name);
	return check_expires(x, s);
}

static int run_approve(struct exchange *x, struct sql *db)
{
	struct subject s AUTO(subject_done) = {0};
	struct error err = {0};
	int r, status = find(x, db, &s);
	bool was = s.state == APPROVED && !s.private;
	uint64_t until = s.wish.expires_us > 0 ? s.wish.expires_us : s.expires_us;

	if (status)
		return status;
	if (was && until == s.expires_us)
		return answer(x, db, &s, 0, &err);
	status = check_match(x, &s);
	if (status == 0)
		status = check_approve(x, &s);
	if (status)
		return status;
	r = change(x, db, &s, approve_sql, "approved", until, &err);
	if (r == 0 && !was && s.state != EXPIRED && s.tag[0])
		r = image_tag_set(x, db, s.name, s.tag, s.digest, false, s.wish.reason, &err);
	return answer(x, db, &s, r, &err);
}

/* Administrators may all; whoever vouches for an image may withdraw that, and one's own private
 * image is one's own affair. */
static int check_end(struct exchange *x, const struct subject *s, bool endorsers)
{
	if ((x->caller.roles & ROLE_ADMINISTRATOR) || (s->private && is_by_caller(x, s->owner)))
		return 0;
	if (endorsers && (x->caller.roles & ROLE_ENDORSER) &&
		(is_by_caller(x, s->endorsed_by) || is_by_caller(x, s->owner)))
		return 0;
	return exchange_fail(x, 403, "image '%s' is not yours to end; ask %s", s->name,
		endorsers ? "who has endorsed it, or an administrator" : "an administrator");
}

static int run_expire(struct exchange *x, struct sql *db)
{
	struct subject s AUTO(subject_done) = {0};
	struct error err = {0};
	int status = find(x, db, &s);
	bool later = s.wish.expires_us > x->now_us;

	if (status)
		return status;
	status = check_end(x, &s, true);
	if (status)
		return status;
	if (later ? s.expires_us == s.wish.expires_us : s.state == EXPIRED)
		return answer(x, db, &s, 0, &err);
	status = check_match(x, &s);
	if (status)
		return status;
	if (s.state & (EXPIRED | REVOKED))
		return exchange_fail(x, 409, "image '%s' is %s already%s", s.name,
			text_of(s.row, "state"),
			s.state == EXPIRED ? "; approve it to have it good for longer" : "");
	return answer(x, db, &s,
		later ? change(x, db, &s, limit_sql, "limited", s.wish.expires_us, &err)
		      : change(x, db, &s, expire_sql, "expired", x->now_us, &err),
		&err);
}

/* What still runs from it. Returns a new array, or NULL when it cannot be read. */
static json_t *list_vms(struct sql *db, const char *digest, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	json_t *list = json_array();
	int r = sql_select(db, err, &rows,
		"SELECT id, name, node, username, state, job FROM vm WHERE digest = ?1"
		" ORDER BY id LIMIT ?2",
		sql_text(digest), sql_number(VMS_MAX));

	while (list && r >= 0 && (r = sql_rows_next(rows, err)) > 0)
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?}", "id", sql_rows_text(rows, 0),
				"name", sql_rows_text(rows, 1), "node", sql_rows_text(rows, 2),
				"user", sql_rows_text(rows, 3), "state", sql_rows_text(rows, 4),
				"job", sql_rows_text(rows, 5)));
	if (r == 0)
		return list;
	json_decref(list);
	return NULL;
}

static int answer_revoked(struct exchange *x, struct sql *db, const struct subject *s)
{
	struct error err = {0};
	int64_t count = 0;
	json_t *vms;
	int status = image_answer(x, db, 200, s->digest);

	if (status != 200)
		return status;
	vms = list_vms(db, s->digest, &err);
	if (!vms || sql_get_number(db, &err, &count, "SELECT count(*) FROM vm WHERE digest = ?1",
			    sql_text(s->digest)) < 0) {
		json_decref(vms);
		return exchange_fail_sql(x, err.code < 0 ? err.code : -ENOMEM, &err);
	}
	json_object_set_new(x->answer, "vms", vms);
	json_object_set_new(x->answer, "vm_count", json_integer(count));
	return 200;
}

static int run_revoke(struct exchange *x, struct sql *db)
{
	struct subject s AUTO(subject_done) = {0};
	struct error err = {0};
	int r, status = find(x, db, &s);

	if (status)
		return status;
	status = check_end(x, &s, false);
	if (status == 0 && s.state != REVOKED)
		status = check_match(x, &s);
	if (status)
		return status;
	r = s.state == REVOKED ? 0 : change(x, db, &s, revoke_sql, "revoked", s.expires_us, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : answer_revoked(x, db, &s);
}

struct due {
	char digest[DIGEST_HEX_SIZE], name[IMAGE_WORD_MAX], owner[CALLER_NAME_MAX];
	bool private;
};

/* Returns how many, or negative errno. */
static int find_due(
	struct sql *db, uint64_t now_us, struct due due[IMAGE_EXPIRE_MAX], struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int count = 0;
	int r = sql_select(db, err, &rows,
		"SELECT digest, name, owner, private FROM image"
		" WHERE state IN ('pending', 'endorsed', 'approved') AND expires > 0"
		" AND expires <= ?1 ORDER BY expires LIMIT ?2",
		sql_number((int64_t)now_us), sql_number(IMAGE_EXPIRE_MAX));

	for (; r >= 0 && (r = sql_rows_next(rows, err)) > 0; count++) {
		struct due *d = &due[count];

		snprintf(d->digest, sizeof(d->digest), "%s", sql_rows_text(rows, 0));
		snprintf(d->name, sizeof(d->name), "%s", sql_rows_text(rows, 1));
		snprintf(d->owner, sizeof(d->owner), "%s", sql_rows_text(rows, 2));
		d->private = sql_rows_number(rows, 3) != 0;
	}
	return r < 0 ? r : count;
}

static int expire(struct sql *db, uint64_t now_us, const struct due *d, struct error *err)
{
	const struct image_change change = {
		.action = "expired",
		.digest = d->digest,
		.name = d->name,
		.reason = "its time has passed",
		.owner = d->private ? d->owner : NULL,
		.actor = EVENT_ACTOR_CONTROLLER,
	};
	int r = sql_change(db, err,
		"UPDATE image SET state = 'expired', state_since = expires, changed_by = ?2,"
		" reason = ?3, revision = revision + 1 WHERE digest = ?1",
		sql_text(d->digest), sql_text(EVENT_ACTOR_CONTROLLER), sql_text(change.reason));

	return r < 0 ? r : image_history_add(NULL, db, now_us, &change, err);
}

int image_expire_due(struct sql *db, uint64_t now_us, struct error *err)
{
	struct due due[IMAGE_EXPIRE_MAX];
	int count = find_due(db, now_us, due, err), r = 0;

	for (int i = 0; i < count && r >= 0; i++)
		r = expire(db, now_us, &due[i], err);
	return r < 0 ? r : count;
}

#define ENDORSERS (ROLE_ENDORSER | ROLE_ADMINISTRATOR)
#define ENDERS    (ROLE_USER | ROLE_ENDORSER | ROLE_ADMINISTRATOR)

#define ROUTE(verb, roles, summary, function)                                        \
	{                                                                            \
		"POST", "/v1/images/{digest}/" verb, ROUTE_WRITE, roles, summary,    \
			.body = wish_fields, .listing = &image_listing, .one = true, \
			.matches = true, .run = function                             \
	}

const struct route image_state_routes[] = {
	ROUTE("endorse", ENDORSERS, "Vouches for an image", run_endorse),
	ROUTE("approve", ROLE_ADMINISTRATOR,
		"Lets VMs start from an image that is endorsed, until it expires", run_approve),
	ROUTE("expire", ENDERS, "Ends an image, now or at a time", run_expire),
	ROUTE("revoke", ENDERS, "Ends an image for ever, and lists the VMs that still run it",
		run_revoke),
	{.method = NULL},
};
