#include "controller/join.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/certificate.h"
#include "controller/csr.h"
#include "controller/event.h"
#include "controller/node.h"
#include "controller/token.h"

struct join {
	char token[TOKEN_SECRET_SIZE];
	char node[AUTHORITY_NAME_MAX];
	const char *csr;
};

static const struct field join_fields[] = {
	{"token", FIELD_TEXT, offsetof(struct join, token), .max = TOKEN_SECRET_SIZE,
		.required = true, .help = "A token of the kind join"},
	{"node", FIELD_TEXT, offsetof(struct join, node), .max = AUTHORITY_NAME_MAX,
		.required = true, .check = authority_check_name, .help = "The node's name"},
	{"csr", FIELD_LINES, offsetof(struct join, csr), .max = CSR_TEXT_MAX, .required = true,
		.help = "A request for a certificate (PKCS #10, PEM); only its key is used"},
	{.name = NULL},
};

static const struct field renewal_fields[] = {
	{"csr", FIELD_LINES, offsetof(struct join, csr), .max = CSR_TEXT_MAX, .required = true,
		.help = "A request for a certificate (PKCS #10, PEM); only its key is used"},
	{.name = NULL},
};

static int run_ca(struct exchange *x, struct sql *db)
{
	struct authority *authority AUTO(authority_freep) = NULL;
	struct error err = {0};
	int r = authority_load(db, &authority, &err);

	if (r == -ENOENT)
		return exchange_fail(x, 404,
			"the site has no authority yet; a controller makes it when it starts");
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return exchange_answer(x, 200, json_pack("{s:s}", "certificate", authority_pem(authority)));
}

/* Is the token one, and for this node? Returns 0 or the status. */
static int check_token(struct exchange *x, struct sql *db, const struct join *j, struct token *ret)
{
	struct error err = {0};
	int r = token_is_secret(j->token, TOKEN_JOIN) ? token_find(db, j->token, ret, &err) : 0;

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0 || ret->kind != TOKEN_JOIN)
		return exchange_fail(
			x, 403, "this is no token to join with, or it was withdrawn; get another");
	if (ret->name[0] && !streq(ret->name, j->node))
		return exchange_fail(
			x, 403, "this token is for the node '%s' alone; get another", ret->name);
	if (ret->used_us == 0 && ret->expires_us <= x->now_us)
		return exchange_fail(x, 403, "this token has expired; get another");
	return 0;
}

/* Of a token that has served: the same node with the same request has not got its answer. */
static int run_again(
	struct exchange *x, struct sql *db, const struct join *j, const struct token *token)
{
	int status = certificate_give_again(x, db, token->serial, j->node, j->csr);

	if (status)
		return status;
	return exchange_fail(x, 403,
		"this token has served already, and a token serves once; get another. If it was not "
		"you, revoke the certificate %.40s",
		token->serial);
}

/* Who has the node's place now is not the one who had it before. */
static int take_place(struct exchange *x, struct sql *db, const struct join *j, struct error *err)
{
	int r = certificate_revoke_all(db, j->node, x->now_us, "the node has joined again", err);

	if (r >= 0)
		r = sql_change(db, err,
			"UPDATE node SET joined = ?2, revision = revision + 1 WHERE name = ?1",
			sql_text(j->node), sql_number((int64_t)x->now_us));
	return MIN_OF(r, 0);
}

/* A node that is there already may join again, with a token that was made for it, so that nobody
 * takes its name by a token that was made for others. Returns 0 or the status. */
static int check_place(
	struct exchange *x, const struct join *j, const struct token *token, const char *hostgroup)
{
	if (!token->name[0])
		return exchange_fail(x, 409,
			"there is a node '%s' already; to let it join again, get a token made for its "
			"name, else remove it or choose another name",
			j->node);
	if (!streq(hostgroup, token->hostgroup))
		return exchange_fail(x, 403,
			"the node '%s' is in another host group than this token is for; get another",
			j->node);
	return 0;
}

/* Makes the node's row, or takes it over. Returns 0 or the status. */
static int enter(
	struct exchange *x, struct sql *db, const struct join *j, const struct token *token)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	char hostgroup[CALLER_NAME_MAX] = "";
	struct error err = {0};
	int r = sql_select(db, &err, &rows, "SELECT hostgroup FROM node WHERE name = ?1",
		    sql_text(j->node)),
	    found, status;

	found = r == 0 ? sql_rows_next(rows, &err) : r;
	if (found < 0)
		return exchange_fail_sql(x, found, &err);
	if (found)
		snprintf(hostgroup, sizeof(hostgroup), "%s", sql_rows_text(rows, 0));
	rows = sql_rows_free(rows);
	status = found ? check_place(x, j, token, hostgroup) : 0;
	if (status)
		return status;
	r = found ? take_place(x, db, j, &err)
		  : node_add(db, j->node, token->hostgroup, x->now_us, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : 0;
}

/* Notes for what the token has served. Returns 0 or the status. */
static int use_token(struct exchange *x, struct sql *db, const struct join *j,
	const struct token *token, const char *serial)
{
	char subject[EVENT_ACTOR_MAX];
	struct error err = {0};
	int r = sql_change(db, &err, "UPDATE token SET used = ?2, serial = ?3 WHERE id = ?1",
		sql_text(token->id), sql_number((int64_t)x->now_us), sql_text(serial));

	snprintf(subject, sizeof(subject), "node:%s", j->node);
	if (r >= 0)
		r = event_add(db, x->now_us, "node.joined", subject, subject,
			json_pack("{s:s, s:s, s:s}", "hostgroup", token->hostgroup, "token",
				token->id, "invited_by", token->created_by),
			&err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : 0;
}

static int run_join(struct exchange *x, struct sql *db)
{
	char serial[AUTHORITY_SERIAL_SIZE] = "";
	struct join j = {0};
	struct token token;
	int status, used;

	status = body_parse(x, &j);
	if (status == 0)
		status = check_token(x, db, &j, &token);
	if (status)
		return status;
	if (token.used_us != 0)
		return run_again(x, db, &j, &token);
	status = enter(x, db, &j, &token);
	if (status == 0)
		status = certificate_issue(x, db, j.node, j.csr, serial);
	if (status >= 400)
		return status;
	used = use_token(x, db, &j, &token, serial);
	return used ? used : status;
}

static int run_renewal(struct exchange *x, struct sql *db)
{
	struct join j = {0};
	int status;

	if (!streq(x->caller.name, x->params[0]))
		return exchange_fail(
			x, 403, "a node renews its own certificate; you are '%s'", x->caller.name);
	status = body_parse(x, &j);
	return status ? status : certificate_issue(x, db, x->caller.name, j.csr, NULL);
}

const struct route join_routes[] = {
	{"GET", "/v1/ca", ROUTE_READ, ROLE_ANYONE, "Gives the certificate of the site's authority",
		.run = run_ca},
	{"POST", "/v1/join", ROUTE_WRITE, ROLE_ANYONE,
		"Makes a machine a node of the site, with a token that serves once",
		.body = join_fields, .run = run_join},
	{"POST", "/v1/nodes/{name}/certificate", ROUTE_WRITE, ROLE_NODE,
		"Gives a node its next certificate", .body = renewal_fields, .run = run_renewal},
	{.method = NULL},
};
