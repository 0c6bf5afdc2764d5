#include "controller/certificate.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/csr.h"
#include "controller/event.h"
#include "lib/timestamp.h"

#define SECOND UINT64_C(1000000)

/* A node has one, and the next when that nears its end. More are answers that were lost; very many
 * are somebody who makes certificates in store with a key that was stolen. */
#define VALID_MAX 16

/* Rows of those that have expired go after this time. */
#define KEEP_US (90 * 24 * 3600 * SECOND)

#define REASON_MAX 256

static const struct listing_column columns[] = {
	{"serial", "certificate.serial", LISTING_TEXT, false, "Its serial number, hexadecimal"},
	{"node", "certificate.node", LISTING_TEXT, true, "The node that it is for"},
	{"issued", "certificate.issued", LISTING_TIME, false, "When it was signed"},
	{"not_after", "certificate.not_after", LISTING_TIME, false, "Until when it is valid"},
	{"revoked", "certificate.revoked", LISTING_TIME, false, "When it was revoked, or null"},
	{"reason", "certificate.reason", LISTING_TEXT, false, "Why it was revoked"},
	{.name = NULL},
};

static const struct listing listing = {
	.noun = "certificate",
	.table = "certificate",
	.columns = columns,
	/* Nobody owns one: seen by administrators, of host groups those of their nodes. */
	.owner = "''",
	.node = "certificate.node",
};

int certificate_check(struct sql *db, const struct authority_subject *subject, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT node, revoked, reason FROM certificate WHERE serial = ?1",
		sql_text(subject->serial));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r < 0)
		return r;
	if (r == 0 || !streq(sql_rows_text(rows, 0), subject->node))
		return fail(err, -EKEYREVOKED,
			"the certificate %s is not known here (any more); let the node join again",
			subject->serial);
	if (sql_rows_number(rows, 1) != 0)
		return fail(err, -EKEYREVOKED,
			"the certificate %s of node '%s' was revoked: %s; if it is to be a node of "
			"this site again, let it join again",
			subject->serial, subject->node, sql_rows_text(rows, 2));
	return 0;
}

static json_t *to_json(const char *node, const struct authority_certificate *c, const char *ca)
{
	char until[TIMESTAMP_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "node", node, "certificate", c->pem, "ca", ca,
		"serial", c->serial, "not_after", timestamp_format(c->not_after_us, until));
}

/* One that this very request got (of this serial; NULL: of any), and that is valid beyond a time.
 * Returns 1, 0 or negative errno. */
static int find_same(struct sql *db, const char *node, const char *digest, const char *serial,
	uint64_t beyond_us, struct authority_certificate *ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"SELECT serial, pem, not_after FROM certificate WHERE node = ?1 AND csr = ?2"
		" AND revoked = 0 AND not_after > ?3 AND serial = coalesce(?4, serial)"
		" ORDER BY not_after DESC LIMIT 1",
		sql_text(node), sql_text(digest), sql_number((int64_t)beyond_us), sql_text(serial));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	snprintf(ret->serial, sizeof(ret->serial), "%s", sql_rows_text(rows, 0));
	ret->pem = strdup(sql_rows_text(rows, 1));
	ret->not_after_us = (uint64_t)sql_rows_number(rows, 2);
	return ret->pem ? 1 : fail(err, -ENOMEM, "out of memory");
}

static int check_count(struct exchange *x, struct sql *db, const char *node)
{
	struct error err = {0};
	int64_t count = 0;
	int r = sql_get_number(db, &err, &count,
		"SELECT count(*) FROM certificate WHERE node = ?1 AND revoked = 0"
		" AND not_after > ?2",
		sql_text(node), sql_number((int64_t)x->now_us));

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (count >= VALID_MAX)
		return exchange_fail(x, 429,
			"node '%s' has %d valid certificates; revoke those that it does not use",
			node, VALID_MAX);
	return 0;
}

static int save(struct exchange *x, struct sql *db, const char *node, const char *digest,
	const struct authority_certificate *c, struct error *err)
{
	char actor[EVENT_ACTOR_MAX], subject[EVENT_ACTOR_MAX];
	int r = sql_change(db, err, "DELETE FROM certificate WHERE node = ?1 AND not_after < ?2",
		sql_text(node), sql_number((int64_t)(x->now_us - KEEP_US)));

	if (r >= 0)
		r = sql_change(db, err,
			"INSERT INTO certificate (serial, node, issued, not_after, revoked, reason,"
			" csr, pem) VALUES (?1, ?2, ?3, ?4, 0, '', ?5, ?6)",
			sql_text(c->serial), sql_text(node), sql_number((int64_t)x->now_us),
			sql_number((int64_t)c->not_after_us), sql_text(digest), sql_text(c->pem));
	if (r < 0)
		return r;
	snprintf(subject, sizeof(subject), "node:%s", node);
	/* Who joins has shown nothing yet, and is this node from now on. */
	return event_add(db, x->now_us, "certificate.issued", subject,
		x->caller.kind == CALLER_NOBODY ? subject : event_actor(&x->caller, actor),
		json_pack("{s:s}", "serial", c->serial), err);
}

/* Signs it, and answers. */
static int issue_new(struct exchange *x, struct sql *db, const char *node, EVP_PKEY *key,
	const char *digest, struct authority_certificate *ret)
{
	struct authority *authority AUTO(authority_freep) = NULL;
	struct error err = {0};
	int r, status = check_count(x, db, node);

	if (status)
		return status;
	r = authority_make(db, x->now_us, &authority, &err);
	if (r == 0)
		r = authority_issue_node(authority, node, key, x->now_us, ret, &err);
	if (r == 0)
		r = save(x, db, node, digest, ret, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return exchange_answer(x, 201, to_json(node, ret, authority_pem(authority)));
}

static int issue_again(
	struct exchange *x, struct sql *db, const char *node, const struct authority_certificate *c)
{
	struct authority *authority AUTO(authority_freep) = NULL;
	struct error err = {0};
	int r = authority_load(db, &authority, &err);

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return exchange_answer(x, 200, to_json(node, c, authority_pem(authority)));
}

int certificate_issue(struct exchange *x, struct sql *db, const char *node, const char *csr,
	char ret_serial[AUTHORITY_SERIAL_SIZE])
{
	struct authority_certificate c AUTO(authority_certificate_done) = {0};
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};
	EVP_PKEY *key = NULL;
	int r, status;

	if (csr_parse(csr, &key, digest, &err) < 0)
		return exchange_fail(x, 400, "'csr': %s", err.text);
	/* One that is half over is time for another. */
	r = find_same(
		db, node, digest, NULL, x->now_us + AUTHORITY_LIFETIME_S * SECOND / 2, &c, &err);
	if (r < 0)
		status = exchange_fail_sql(x, r, &err);
	else if (r > 0)
		status = issue_again(x, db, node, &c);
	else
		status = issue_new(x, db, node, key, digest, &c);
	EVP_PKEY_free(key);
	if (ret_serial)
		memcpy(ret_serial, c.serial, AUTHORITY_SERIAL_SIZE);
	return status;
}

int certificate_give_again(
	struct exchange *x, struct sql *db, const char *serial, const char *node, const char *csr)
{
	struct authority_certificate c AUTO(authority_certificate_done) = {0};
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};
	int r = digest_bytes(csr, strlen(csr), digest);

	if (r == 0)
		r = find_same(db, node, digest, serial, x->now_us, &c, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	return r ? issue_again(x, db, node, &c) : 0;
}

int certificate_revoke_all(
	struct sql *db, const char *node, uint64_t now_us, const char *reason, struct error *err)
{
	return sql_change(db, err,
		"UPDATE certificate SET revoked = ?2, reason = ?3 WHERE node = ?1 AND revoked = 0",
		sql_text(node), sql_number((int64_t)now_us), sql_text(reason));
}

struct revocation {
	char reason[REASON_MAX];
};

static const struct field revocation_fields[] = {
	{"reason", FIELD_TEXT, offsetof(struct revocation, reason), .max = REASON_MAX,
		.help = "Why, for people and for the node"},
	{.name = NULL},
};

/* Whose it is, and that its host group is the caller's. Returns 0 or the status. */
static int find_node(
	struct exchange *x, struct sql *db, const char *serial, char ret_node[CALLER_NAME_MAX])
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	struct error err = {0};
	int r = sql_select(db, &err, &rows,
		"SELECT certificate.node, node.hostgroup FROM certificate"
		" LEFT JOIN node ON node.name = certificate.node WHERE serial = ?1",
		sql_text(serial));

	if (r == 0)
		r = sql_rows_next(rows, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0 || !caller_administers(&x->caller, sql_rows_text(rows, 1)))
		return exchange_fail(x, 404,
			"there is no certificate '%.64s' of a node that you administer", serial);
	snprintf(ret_node, CALLER_NAME_MAX, "%s", sql_rows_text(rows, 0));
	return 0;
}

static int revoke_one(struct exchange *x, struct sql *db, const char *serial, const char *node,
	const char *reason)
{
	char actor[EVENT_ACTOR_MAX], subject[EVENT_ACTOR_MAX];
	struct error err = {0};
	int r = sql_change(db, &err,
		"UPDATE certificate SET revoked = ?2, reason = ?3 WHERE serial = ?1 AND revoked = 0",
		sql_text(serial), sql_number((int64_t)x->now_us), sql_text(reason));

	snprintf(subject, sizeof(subject), "node:%s", node);
	if (r > 0)
		r = event_add(db, x->now_us, "certificate.revoked", subject,
			event_actor(&x->caller, actor),
			json_pack("{s:s, s:s}", "serial", serial, "reason", reason), &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : 0;
}

static int run_revoke(struct exchange *x, struct sql *db)
{
	const char *serial = x->params[0];
	char node[CALLER_NAME_MAX];
	struct revocation body = {0};
	struct error err = {0};
	json_t *row = NULL;
	int r, status;

	status = x->body ? body_parse(x, &body) : 0;
	if (status == 0)
		status = find_node(x, db, serial, node);
	if (status == 0)
		status = revoke_one(
			x, db, serial, node, body.reason[0] ? body.reason : "no reason given");
	if (status)
		return status;
	r = listing_get(db, &listing, serial, &row, NULL, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer(x, 200, row);
}

#define ADMINISTRATORS (ROLE_ADMINISTRATOR | ROLE_GROUP_ADMIN)

const struct route certificate_routes[] = {
	{"GET", "/v1/certificates", ROUTE_READ, ADMINISTRATORS,
		"Lists the certificates that nodes were given", .listing = &listing},
	{"GET", "/v1/certificates/{serial}", ROUTE_READ, ADMINISTRATORS, "Shows a certificate",
		.listing = &listing, .one = true},
	{"POST", "/v1/certificates/{serial}/revoke", ROUTE_WRITE, ADMINISTRATORS,
		"Revokes a certificate, at once and for ever", .body = revocation_fields,
		.run = run_revoke},
	{.method = NULL},
};
