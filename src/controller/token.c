#include "controller/token.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "controller/authority.h"
#include "controller/body.h"
#include "controller/controller.h"
#include "controller/event.h"
#include "controller/identity.h"
#include "controller/rights.h"
#include "lib/timestamp.h"

#define SECOND        UINT64_C(1000000)
#define HOUR_S        UINT64_C(3600)
#define SECRET_BYTES  32
#define LIFETIME_MIN  60
#define LIFETIME_MAX  (366 * 24 * HOUR_S)
#define LIFETIME_JOIN (24 * HOUR_S) /* not said otherwise */
#define LIFETIME_USER (30 * 24 * HOUR_S)
#define ROLES_MAX     8
#define JOIN_MAX      20000 /* that one administrator has made and nobody used */

/* So that one that has got lost is known for what it is. */
static const char *const prefixes[] = {
	[TOKEN_JOIN] = "wnodes_join_",
	[TOKEN_BEARER] = "wnodes_user_",
};
static const char *const kinds[] = {[TOKEN_JOIN] = "join", [TOKEN_BEARER] = "bearer"};

static const struct listing_column columns[] = {
	{"id", "token.id", LISTING_TEXT, false, "Its id"},
	{"kind", "token.kind", LISTING_TEXT, true, "join or bearer"},
	{"name", "token.name", LISTING_TEXT, true, "The node that it is for, or whose it is"},
	{"hostgroup", "token.hostgroup", LISTING_TEXT, true, "The host group that it is for"},
	{"roles", "token.roles", LISTING_TEXT, false, "What its owner may with it"},
	{"created_by", "token.created_by", LISTING_TEXT, true, "Who made it"},
	{"created", "token.created", LISTING_TIME, false, "When it was made"},
	{"expires", "token.expires", LISTING_TIME, false, "Until when it is good"},
	{"used", "token.used", LISTING_TIME, false, "When a node joined with it, or null"},
	{"serial", "token.serial", LISTING_TEXT, false, "The certificate that the node got"},
	{.name = NULL},
};

static const struct listing listing = {
	.noun = "token",
	.table = "token",
	.columns = columns,
	.owner = "CASE token.kind WHEN 'bearer' THEN token.name ELSE token.created_by END",
};

int token_make_secret(enum token_kind kind, char ret[TOKEN_SECRET_SIZE])
{
	uint8_t bytes[SECRET_BYTES];
	int n = snprintf(ret, TOKEN_SECRET_SIZE, "%s", prefixes[kind]);

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -errno;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret + n + 2 * i, 3, "%02x", bytes[i]);
	explicit_bzero(bytes, sizeof(bytes));
	return 0;
}

bool token_is_secret(const char *text, enum token_kind kind)
{
	const char *digits = str_after(text, prefixes[kind]);

	return digits && strspn(digits, "0123456789abcdef") == (size_t)2 * SECRET_BYTES &&
	       digits[2 * SECRET_BYTES] == '\0';
}

static void read_row(const struct sql_rows *rows, struct token *ret)
{
	*ret = (struct token){
		.kind = streq(sql_rows_text(rows, 1), "join") ? TOKEN_JOIN : TOKEN_BEARER,
		.expires_us = (uint64_t)sql_rows_number(rows, 6),
		.used_us = (uint64_t)sql_rows_number(rows, 7),
		.account = sql_rows_number(rows, 9) != 0};
	snprintf(ret->id, sizeof(ret->id), "%s", sql_rows_text(rows, 0));
	snprintf(ret->name, sizeof(ret->name), "%s", sql_rows_text(rows, 2));
	snprintf(ret->hostgroup, sizeof(ret->hostgroup), "%s", sql_rows_text(rows, 3));
	snprintf(ret->roles, sizeof(ret->roles), "%s", sql_rows_text(rows, 4));
	snprintf(ret->created_by, sizeof(ret->created_by), "%s", sql_rows_text(rows, 5));
	snprintf(ret->serial, sizeof(ret->serial), "%s", sql_rows_text(rows, 8));
}

#define COLUMNS "id, kind, name, hostgroup, roles, created_by, expires, used, serial, account"

/* By its hash, so that how long it takes tells nothing of the secret. */
int token_find(struct sql *db, const char *secret, struct token *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	char hash[DIGEST_HEX_SIZE];
	int r = digest_bytes(secret, strlen(secret), hash);

	if (r == 0)
		r = sql_select(db, err, &rows, "SELECT " COLUMNS " FROM token WHERE hash = ?1",
			sql_text(hash));
	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r > 0)
		read_row(rows, ret);
	return r;
}

/* By the id. Returns 1, 0 or negative errno. */
static int load(struct sql *db, const char *id, struct token *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(
		db, err, &rows, "SELECT " COLUMNS " FROM token WHERE id = ?1", sql_text(id));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r > 0)
		read_row(rows, ret);
	return r;
}

/* What is asked for. */
struct wish {
	char kind[8];
	char name[CALLER_NAME_MAX];
	char hostgroup[AUTHORITY_NAME_MAX];
	json_t *roles;
	uint64_t lifetime_s;
	bool account; /* the owner has one */
};

static const struct field fields[] = {
	{"kind", FIELD_WORD, offsetof(struct wish, kind), .max = 8, .required = true,
		.words = "join|bearer",
		.help = "join: a node joins with it, once; bearer: says who its owner is"},
	{"name", FIELD_TEXT, offsetof(struct wish, name), .max = CALLER_NAME_MAX,
		.help = "The node that alone may join with it; or whose it is, if not the caller's"},
	{"hostgroup", FIELD_TEXT, offsetof(struct wish, hostgroup), .max = AUTHORITY_NAME_MAX,
		.help = "The host group that the node comes into; or that administrators by this "
			"token are limited to"},
	{"roles", FIELD_LIST, offsetof(struct wish, roles), .max = ROLES_MAX,
		.help = "Of a bearer: user (without others), endorser, administrator; what its owner "
			"has of these"},
	{"lifetime_s", FIELD_NUMBER, offsetof(struct wish, lifetime_s), .min = LIFETIME_MIN,
		.max = LIFETIME_MAX, .help = "Seconds that it is good for; a day, of a bearer 30"},
	{.name = NULL},
};

/* Makes words of the list. Returns 0 or the status. */
static int read_roles(struct exchange *x, json_t *list, char ret[CALLER_NAME_MAX])
{
	char words[RIGHTS_WORDS_MAX];
	unsigned int roles = ROLE_USER;
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *word = json_string_value(item);
		unsigned int role = word && !strchr(word, ' ') ? rights_parse(word) : 0;

		if (!role)
			return exchange_fail(
				x, 400, "'roles' are of user, endorser and administrator only");
		roles |= role;
	}
	snprintf(ret, CALLER_NAME_MAX, "%s", rights_format(roles, words));
	return 0;
}

/* Returns 1 with the host group, 0 if there is no such node, or negative errno. */
static int find_hostgroup(
	struct sql *db, const char *node, char ret[AUTHORITY_NAME_MAX], struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(
		db, err, &rows, "SELECT hostgroup FROM node WHERE name = ?1", sql_text(node));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r > 0)
		snprintf(ret, AUTHORITY_NAME_MAX, "%s", sql_rows_text(rows, 0));
	return r;
}

/* The host group has to be there. Returns 0 or the status. */
static int check_hostgroup(struct exchange *x, struct sql *db, const char *name)
{
	struct error err = {0};
	int64_t count = 0;
	int r = *name ? sql_get_number(db, &err, &count,
				"SELECT count(*) FROM hostgroup WHERE name = ?1", sql_text(name))
		      : 1;

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return *name && count == 0
		       ? exchange_fail(x, 409, "there is no host group '%s'; make it first", name)
		       : 0;
}

/* Nodes are let in by those who administer the host group that they come into. */
static int check_join(struct exchange *x, struct sql *db, struct wish *w)
{
	char there[AUTHORITY_NAME_MAX] = "";
	struct error err = {0};
	int r = 0;

	if (w->name[0] && authority_check_name(w->name, &err) < 0)
		return exchange_fail(x, 400, "'name': %s", err.text);
	if (w->name[0])
		r = find_hostgroup(db, w->name, there, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r > 0 && w->hostgroup[0] && !streq(w->hostgroup, there))
		return exchange_fail(x, 409,
			"the node '%s' is there already, in another host group; leave out "
			"'hostgroup', and it stays where it is",
			w->name);
	if (r > 0)
		memcpy(w->hostgroup, there, sizeof(there));
	if (!caller_administers(&x->caller, w->hostgroup))
		return exchange_fail(x, 403,
			w->hostgroup[0]
				? "you do not administer the host group '%s'"
				: "you administer host groups: say of which the node is to be, "
				  "by 'hostgroup'%s",
			w->hostgroup);
	if (w->roles)
		return exchange_fail(x, 400, "'roles' are of bearers; nodes have none");
	return check_hostgroup(x, db, w->hostgroup);
}

/* With an account, a token ends when that does, whoever has made it. Returns 0 or the status. */
static int find_account(struct exchange *x, struct wish *w)
{
	struct error err = {0};
	int r = identity_has_account(x->controller->identity, w->name, &err);

	w->account = r > 0;
	return r < 0 ? exchange_fail(
			       x, 503, "whose token it is to be cannot be found out: %s", err.text)
		     : 0;
}

/* A token that somebody has found must not live on in others that were made with it. */
static int check_bearer(struct exchange *x, struct sql *db, struct wish *w)
{
	int status;

	if (x->caller.how && streq(x->caller.how, "token"))
		return exchange_fail(x, 403,
			"a token makes no tokens; show who you are by MUNGE, or ask on the "
			"controller's socket");
	if (!w->name[0])
		snprintf(w->name, sizeof(w->name), "%s", x->caller.name);
	if (!streq(w->name, x->caller.name) && !(x->caller.roles & ROLE_ADMINISTRATOR))
		return exchange_fail(x, 403,
			"you make tokens for yourself; for '%s', an administrator of the site does",
			w->name);
	status = find_account(x, w);
	return status ? status : check_hostgroup(x, db, w->hostgroup);
}

static int read_wish(
	struct exchange *x, struct sql *db, struct wish *w, char roles[CALLER_NAME_MAX])
{
	bool join;
	int status;

	roles[0] = '\0';
	status = body_check_name(x, "token", x->params[0]);
	if (status == 0)
		status = body_parse(x, w);
	if (status)
		return status;
	join = streq(w->kind, "join");
	if (w->lifetime_s == 0)
		w->lifetime_s = join ? LIFETIME_JOIN : LIFETIME_USER;
	status = join ? check_join(x, db, w) : check_bearer(x, db, w);
	return status || join ? status : read_roles(x, w->roles, roles);
}

/* How many good ones does he have already, for himself or for nodes to join? Returns 0 or the
 * status. */
static int check_count(struct exchange *x, struct sql *db, const struct wish *w)
{
	bool join = streq(w->kind, "join");
	uint64_t max = join ? JOIN_MAX : controller_get_settings(x->controller)->user_tokens;
	struct error err = {0};
	int64_t count = 0;
	int r;

	if (max == 0)
		return 0;
	r = sql_get_number(db, &err, &count,
		"SELECT count(*) FROM token WHERE kind = ?1 AND used = 0 AND expires > ?2 AND"
		" CASE kind WHEN 'bearer' THEN name ELSE created_by END = ?3",
		sql_text(w->kind), sql_number((int64_t)x->now_us),
		sql_text(join ? x->caller.name : w->name));
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return count < (int64_t)max
		       ? 0
		       : exchange_fail(x, 409,
				 "%s has %d tokens that are good, as many as there may be; withdraw some",
				 join ? x->caller.name : w->name, (int)count);
}

/* The same again, which nobody has used: the answer was lost, and with it the secret. */
static int check_same(
	struct exchange *x, const struct token *t, const struct wish *w, const char *roles)
{
	if (t->used_us == 0 && streq(kinds[t->kind], w->kind) && streq(t->name, w->name) &&
		streq(t->hostgroup, w->hostgroup) && streq(t->roles, roles) &&
		streq(t->created_by, x->caller.name))
		return 0;
	return exchange_fail(
		x, 409, "there is another token of the id %s; choose another id", t->id);
}

static int save(struct exchange *x, struct sql *db, const struct wish *w, const char *roles,
	const char *hash, struct error *err)
{
	int r = sql_change(db, err,
		"INSERT INTO token (id, hash, kind, name, hostgroup, roles, created_by, created,"
		" expires, used, account) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10)"
		" ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, created = excluded.created,"
		" expires = excluded.expires, account = excluded.account",
		sql_text(x->params[0]), sql_text(hash), sql_text(w->kind), sql_text(w->name),
		sql_text(w->hostgroup), sql_text(roles), sql_text(x->caller.name),
		sql_number((int64_t)x->now_us),
		sql_number((int64_t)(x->now_us + w->lifetime_s * SECOND)), sql_number(w->account));

	return MIN_OF(r, 0);
}

static int add_event(struct exchange *x, struct sql *db, const char *kind, const char *token_kind,
	const char *name, struct error *err)
{
	bool join = streq(token_kind, "join");
	char actor[EVENT_ACTOR_MAX], subject[BODY_NAME_MAX + 8];

	snprintf(subject, sizeof(subject), "token:%.63s", x->params[0]);
	return event_add(db, x->now_us, kind, subject, event_actor(&x->caller, actor),
		json_pack("{s:s, s:s}", "kind", token_kind, join ? "node" : "user", name), err);
}

static int answer(
	struct exchange *x, int status, const struct wish *w, const char *roles, const char *secret)
{
	char until[TIMESTAMP_TEXT_SIZE];

	timestamp_format(x->now_us + w->lifetime_s * SECOND, until);
	return exchange_answer(x, status,
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id", x->params[0], "token",
			secret, "kind", w->kind, "name", w->name, "hostgroup", w->hostgroup,
			"roles", roles, "expires", until));
}

static int run_put(struct exchange *x, struct sql *db)
{
	char secret[TOKEN_SECRET_SIZE], hash[DIGEST_HEX_SIZE], roles[CALLER_NAME_MAX];
	struct wish w = {0};
	struct error err = {0};
	struct token before;
	int r, status = read_wish(x, db, &w, roles);
	bool again;

	if (status)
		return status;
	r = load(db, x->params[0], &before, &err);
	again = r > 0;
	status = again ? check_same(x, &before, &w, roles) : check_count(x, db, &w);
	if (status)
		return status;
	if (r >= 0)
		r = token_make_secret(streq(w.kind, "join") ? TOKEN_JOIN : TOKEN_BEARER, secret);
	if (r >= 0)
		r = digest_bytes(secret, strlen(secret), hash);
	if (r >= 0)
		r = save(x, db, &w, roles, hash, &err);
	if (r >= 0)
		r = add_event(x, db, "token.made", w.kind, w.name, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	status = answer(x, again ? 200 : 201, &w, roles, secret);
	explicit_bzero(secret, sizeof(secret));
	return status;
}

static bool may_remove(const struct caller *c, const struct token *t)
{
	if (c->roles & ROLE_ADMINISTRATOR)
		return true;
	if (t->kind == TOKEN_BEARER)
		return streq(t->name, c->name);
	return streq(t->created_by, c->name) ||
	       (t->hostgroup[0] && caller_administers(c, t->hostgroup));
}

static int run_delete(struct exchange *x, struct sql *db)
{
	struct error err = {0};
	struct token t;
	int r = load(db, x->params[0], &t, &err);

	if (r == 0 || (r > 0 && !may_remove(&x->caller, &t)))
		return exchange_fail(x, 404, "you have no token '%.64s'", x->params[0]);
	if (r > 0)
		r = sql_change(db, &err, "DELETE FROM token WHERE id = ?1", sql_text(t.id));
	if (r > 0)
		r = add_event(x, db, "token.withdrawn", kinds[t.kind], t.name, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	x->status = 204;
	return 204;
}

int token_prune(struct sql *db, uint64_t before_us, struct error *err)
{
	return sql_change(db, err,
		"DELETE FROM token WHERE id IN (SELECT id FROM token WHERE expires < ?1"
		" ORDER BY id LIMIT ?2)",
		sql_number((int64_t)before_us), sql_number(TOKEN_PRUNE_MAX));
}

#define MAKERS (ROLE_USER | ROLE_ADMINISTRATOR | ROLE_GROUP_ADMIN)

const struct route token_routes[] = {
	{"GET", "/v1/tokens", ROUTE_READ, MAKERS, "Lists tokens, without their secrets",
		.listing = &listing},
	{"GET", "/v1/tokens/{id}", ROUTE_READ, MAKERS, "Shows a token, without its secret",
		.listing = &listing, .one = true},
	{"PUT", "/v1/tokens/{id}", ROUTE_WRITE, MAKERS,
		"Makes a token; its secret is in the answer, and never again", .body = fields,
		.run = run_put},
	{"DELETE", "/v1/tokens/{id}", ROUTE_WRITE, MAKERS, "Withdraws a token, at once",
		.run = run_delete},
	{.method = NULL},
};
