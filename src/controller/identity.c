/* A caller is found for each request, not for each connection: what was revoked a moment ago is
 * refused on connections that are older. */
#include "controller/identity.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>

#include "controller/accounts.h"
#include "controller/authority.h"
#include "controller/authorization.h"
#include "controller/certificate.h"
#include "controller/controller.h"
#include "controller/errand.h"
#include "controller/munged.h"
#include "controller/replay.h"
#include "controller/rights.h"
#include "controller/route.h"
#include "controller/token.h"
#include "lib/log.h"

#define MUNGED_WAIT_US UINT64_C(2000000)

#define KNOWN_SLOTS 16384 /* certificates that were checked; one for each node of a large site */

/* A certificate that is good, by the digest of its bytes: checking it anew would cost more than all
 * else that is done for a request. Who falls into the same slot takes its place. */
struct known {
	uint8_t digest[SHA256_DIGEST_LENGTH];
	struct authority_subject subject;
};

struct identity {
	pthread_mutex_t lock;        /* of what follows */
	struct authority *authority; /* NULL: not loaded yet */
	struct known *known;         /* KNOWN_SLOTS */
	struct accounts *accounts;   /* these have their own */
	struct replay *replay;
	struct errands *munged;
};

struct identity *identity_new(void)
{
	struct identity *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	pthread_mutex_init(&i->lock, NULL);
	i->known = calloc(KNOWN_SLOTS, sizeof(*i->known));
	i->accounts = accounts_new();
	i->replay = replay_new(MUNGED_TTL_MAX_S * UINT64_C(2000000)); /* and as much for skew */
	i->munged = errands_new(MUNGED_WAIT_US);
	return i->known && i->accounts && i->replay && i->munged ? i : identity_free(i);
}

struct identity *identity_free(struct identity *i)
{
	if (!i)
		return NULL;
	pthread_mutex_destroy(&i->lock);
	authority_free(i->authority);
	free(i->known);
	accounts_free(i->accounts);
	replay_free(i->replay);
	errands_free(i->munged);
	free(i);
	return NULL;
}

static int fail_without_database(struct exchange *x)
{
	return exchange_fail(
		x, 503, "who you are is in the database, which is not reached at the moment");
}

/* A user, by account. */
static int find_user(
	struct exchange *x, const struct account *account, const char *how, struct sql *db)
{
	struct caller *c = &x->caller;
	struct error err = {0};
	int r;

	c->kind = CALLER_USER;
	c->uid = account->uid;
	c->how = how;
	snprintf(c->name, sizeof(c->name), "%s", account->name);
	r = rights_load(db, controller_get_settings(x->controller), account, c, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : 0;
}

static int find_uid(struct exchange *x, uid_t uid, const char *how, struct sql *db)
{
	struct account *account AUTO(account_unrefp) = NULL;
	struct error err = {0};
	int r = accounts_find_uid(x->controller->identity->accounts, uid, &account, &err);

	if (r == -ENOENT)
		return exchange_fail(x, 401,
			"user %u has no account on the controller's machine; its administrators "
			"have to make it known there",
			uid);
	if (r < 0)
		return exchange_fail(x, 503, "who you are cannot be found out: %s", err.text);
	return find_user(x, account, how, db);
}

static int find_local(struct exchange *x, uid_t uid, struct sql *db)
{
	int status = find_uid(x, uid, "socket", db);

	/* On its own machine. By MUNGE, root of any machine of the cluster would come in here. */
	if (status == 0 && uid == 0)
		x->caller.roles |= ROLE_ADMINISTRATOR | ROLE_GROUP_ADMIN;
	return status;
}

/* One credential serves once here, also if munged was started anew since. */
static int check_fresh(struct exchange *x, const char *credential)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];

	SHA256((const uint8_t *)credential, strlen(credential), digest);
	switch (replay_add(x->controller->identity->replay, digest, x->now_us)) {
	case 0:
		return 0;
	case -EEXIST:
		return exchange_fail(x, 401,
			"the credential of MUNGE has served already; make a fresh one for each "
			"request");
	default:
		return exchange_fail(x, 503, "too many credentials of MUNGE come in; use a token");
	}
}

/* A credential that munged opens, which may take longer than we wait. */
struct opening {
	char *socket, *credential;
	struct munged_content content;
	struct error err;
	int result;
};

static void do_opening(void *task)
{
	struct opening *o = task;

	o->result = munged_open(o->socket, o->credential, &o->content, &o->err);
}

static void drop_opening(void *task)
{
	struct opening *o = task;

	free(o->socket);
	free(o->credential);
	free(o->content.payload);
	free(o);
}

/* As munged_open(). */
static int open_credential(struct identity *i, const char *socket, const char *credential,
	struct munged_content *ret, struct error *err)
{
	struct opening *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return fail(err, -ENOTCONN, "out of memory");
	o->socket = socket ? strdup(socket) : NULL;
	o->credential = strdup(credential);
	if ((socket && !o->socket) || !o->credential) {
		drop_opening(o);
		return fail(err, -ENOTCONN, "out of memory");
	}
	r = errands_run(i->munged, do_opening, drop_opening, o);
	if (r < 0)
		return fail(err, -ENOTCONN, "munged does not answer here in time");
	r = o->result;
	*err = o->err;
	*ret = o->content;
	o->content.payload = NULL;
	drop_opening(o);
	return r;
}

static void forget(struct exchange *x)
{
	caller_done(&x->caller);
	x->caller.uid = -1;
	x->caller.roles = ROLE_ANYONE;
	x->caller.how = "none";
}

int identity_check_promise(struct exchange *x, const struct identity_evidence *e,
	const struct identity_promise *promise)
{
	if (authorization_fits(
		    promise->text, promise->length, e->method, e->target, e->body, e->body_length))
		return 0;
	return exchange_fail(x, 401,
		"the credential of MUNGE is for another request; its text is 'METHOD PATH "
		"SHA256-OF-BODY'");
}

static int find_munge(struct exchange *x, const struct identity_evidence *e, const char *credential,
	struct sql *db)
{
	const char *socket = controller_get_settings(x->controller)->munge;
	struct munged_content content = {0};
	struct identity_promise opened;
	struct error err = {0};
	int r, status;

	if (socket && streq(socket, "none"))
		return exchange_fail(
			x, 401, "this controller takes no credentials of MUNGE; use a token");
	r = open_credential(x->controller->identity, socket && socket[0] == '/' ? socket : NULL,
		credential, &content, &err);
	if (r < 0)
		return exchange_fail(x, r == -ENOTCONN ? 503 : 401, "%s", err.text);
	opened = (struct identity_promise){content.payload, content.length};
	if (e->promise)
		*e->promise = opened;
	status = e->promise ? 0 : identity_check_promise(x, e, &opened);
	if (!e->promise)
		free(content.payload);
	if (status)
		return status;
	status = check_fresh(x, credential);
	return status ? status : find_uid(x, content.uid, "munge", db);
}

int identity_has_account(struct identity *i, const char *name, struct error *err)
{
	struct account *account AUTO(account_unrefp) = NULL;
	int r = accounts_find_name(i->accounts, name, &account, err);

	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

/* Whose account is gone has no tokens any more; those that an administrator has made for somebody
 * without an account (a portal) go on. */
static int find_owner(struct exchange *x, const struct token *t, struct sql *db)
{
	struct account *account AUTO(account_unrefp) = NULL;
	struct caller *c = &x->caller;
	struct error err = {0};
	int r = accounts_find_name(x->controller->identity->accounts, t->name, &account, &err);

	if (r == 0) {
		r = find_user(x, account, "token", db);
	} else if (r != -ENOENT) {
		r = exchange_fail(x, 503, "who you are cannot be found out: %s", err.text);
	} else if (t->account || streq(t->created_by, t->name)) {
		r = exchange_fail(x, 401,
			"the user '%s', whose token this is, has no account any more", t->name);
	} else {
		c->kind = CALLER_USER;
		c->how = "token";
		snprintf(c->name, sizeof(c->name), "%s", t->name);
		r = rights_load(db, controller_get_settings(x->controller), NULL, c, &err);
		r = r < 0 ? exchange_fail_sql(x, r, &err) : 0;
	}
	if (r == 0)
		rights_limit(c, t->roles, t->hostgroup);
	return r;
}

static int find_token(struct exchange *x, const char *secret, struct sql *db)
{
	struct error err = {0};
	struct token token;
	int r;

	if (token_is_secret(secret, TOKEN_JOIN))
		return exchange_fail(
			x, 401, "this token is for a node to join with, by POST /v1/join");
	if (!token_is_secret(secret, TOKEN_BEARER))
		return exchange_fail(x, 401, "this is no token of WNoDeS; copy all of it");
	if (!db)
		return fail_without_database(x);
	r = token_find(db, secret, &token, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0 || token.kind != TOKEN_BEARER)
		return exchange_fail(
			x, 401, "this token was withdrawn, or replaced by another; get a new one");
	if (token.expires_us <= x->now_us)
		return exchange_fail(x, 401, "this token has expired; get a new one");
	return find_owner(x, &token, db);
}

/* Whose certificate it is, if it has been looked at before. */
static bool find_known(struct identity *i, const uint8_t *digest, struct authority_subject *ret)
{
	uint32_t slot;
	bool found;

	memcpy(&slot, digest, sizeof(slot));
	pthread_mutex_lock(&i->lock);
	found = memcmp(i->known[slot % KNOWN_SLOTS].digest, digest, SHA256_DIGEST_LENGTH) == 0;
	if (found)
		*ret = i->known[slot % KNOWN_SLOTS].subject;
	pthread_mutex_unlock(&i->lock);
	return found;
}

static void add_known(
	struct identity *i, const uint8_t *digest, const struct authority_subject *subject)
{
	uint32_t slot;

	memcpy(&slot, digest, sizeof(slot));
	pthread_mutex_lock(&i->lock);
	memcpy(i->known[slot % KNOWN_SLOTS].digest, digest, SHA256_DIGEST_LENGTH);
	i->known[slot % KNOWN_SLOTS].subject = *subject;
	pthread_mutex_unlock(&i->lock);
}

/* It never changes, so it is loaded once. Returns it, or NULL with `err`. */
static const struct authority *get_authority(struct identity *i, struct sql *db, struct error *err)
{
	struct authority *a;

	pthread_mutex_lock(&i->lock);
	if (!i->authority && db)
		authority_load(db, &i->authority, err);
	a = i->authority;
	pthread_mutex_unlock(&i->lock);
	return a;
}

static int check_certificate(struct exchange *x, const void *der, size_t length, struct sql *db,
	struct authority_subject *ret)
{
	struct identity *i = x->controller->identity;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	const struct authority *authority;
	struct error err = {0};

	SHA256(der, length, digest);
	if (find_known(i, digest, ret) && ret->not_after_us > x->now_us)
		return 0;
	authority = get_authority(i, db, &err);
	if (!authority && !db)
		return exchange_fail(x, 401,
			"the site's authority is not known yet, as the database is not reached");
	if (!authority)
		return exchange_fail_sql(x, err.code, &err);
	if (authority_check(authority, der, length, x->now_us, ret, &err) < 0)
		return exchange_fail(x, 401,
			"your certificate is not valid here: %s; if it is a node's, let it join again",
			err.text);
	add_known(i, digest, ret);
	return 0;
}

int identity_find_certificate(struct exchange *x, const void *der, size_t length, struct sql *db)
{
	struct authority_subject subject;
	struct error err = {0};
	int r, status;

	if (!db && !(x->route && x->route->by_certificate))
		return fail_without_database(x);
	status = check_certificate(x, der, length, db, &subject);
	if (status)
		return status;
	r = db ? certificate_check(db, &subject, &err) : 0;
	if (r == -EKEYREVOKED)
		return exchange_fail(x, 401, "%s", err.text);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	x->caller.kind = CALLER_NODE;
	x->caller.roles |= ROLE_NODE;
	x->caller.how = "certificate";
	snprintf(x->caller.name, sizeof(x->caller.name), "%s", subject.node);
	snprintf(x->caller.serial, sizeof(x->caller.serial), "%s", subject.serial);
	return 0;
}

static int find_header(struct exchange *x, const struct identity_evidence *e, struct sql *db)
{
	struct authorization authorization;
	struct error err = {0};

	if (authorization_parse(e->authorization, &authorization, &err) < 0)
		return exchange_fail(x, 401, "%s", err.text);
	if (authorization.kind == AUTHORIZATION_MUNGE)
		return find_munge(x, e, authorization.value, db);
	return find_token(x, authorization.value, db);
}

bool identity_has_certificate(void *tls_session)
{
	unsigned int count = 0;

	return tls_session && gnutls_certificate_get_peers(tls_session, &count) && count > 0;
}

int identity_find(struct exchange *x, const struct identity_evidence *e, struct sql *db)
{
	const gnutls_datum_t *chain = NULL;
	unsigned int count = 0;
	int status = 0;

	forget(x);
	if (e->tls_session)
		chain = gnutls_certificate_get_peers(e->tls_session, &count);
	if (chain && count > 0)
		status = identity_find_certificate(x, chain[0].data, chain[0].size, db);
	/* A header says more than the connection that it comes over. */
	if (status == 0 && e->authorization) {
		forget(x);
		status = find_header(x, e, db);
	} else if (status == 0 && e->local) {
		status = find_local(x, e->peer_uid, db);
	}
	if (status) {
		log_debug("a caller is not taken for anybody: %s",
			json_string_value(json_object_get(x->answer, "error")));
		forget(x);
	}
	return status;
}
