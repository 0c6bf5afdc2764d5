/* Who is taken for whom, and what he may then: requests go the way that they go in the server, but
 * for the network. */
#include "controller/identity.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "controller/authority.h"
#include "controller/authorization.h"
#include "controller/controller.h"
#include "controller/fixture_test.h"
#include "controller/replay.h"
#include "controller/rights.h"
#include "controller/route.h"
#include "controller/schema.h"
#include "lib/path.h"
#include "sql/server_test.h"

#include <cmocka.h>

#define NOW   FIXTURE_NOW_US
#define DAY   FIXTURE_DAY_US
#define ID(n) "00000000-0000-4000-8000-00000000000" #n

static const char *site_url;
static struct sql *db;
static struct controller controller;
static struct controller_settings settings;
static struct error err;
static uint64_t now_us;
static bool offline;

/* The answer of the last call; its texts are good until the next. */
static json_t *answer;

/* Who asks: on the socket by uid, or by token, or by certificate. */
struct who {
	uid_t uid;
	const char *token;
	const char *certificate; /* PEM */
	bool nobody;
};

static const struct who root = {0}, daemon_user = {.uid = 1}, bin_user = {.uid = 2};
static const struct who nobody = {.nobody = true};

static void begin(void **state)
{
	err = (struct error){0};
	site_url = server_test_url(state);
	if (sql_open(site_url, &db, &err) < 0 || schema_upgrade(db, &err) < 0)
		fail_msg("%s: %s", site_url, err.text);
	settings = (struct controller_settings){0};
	controller = (struct controller){.settings = &settings, .identity = identity_new()};
	now_us = NOW;
	offline = false;
}

static int teardown(void **state)
{
	json_decref(answer);
	answer = NULL;
	controller.identity = identity_free(controller.identity);
	db = sql_free(db);
	return server_test_teardown(state);
}

static int identify(struct exchange *x, struct who who)
{
	autofree char *header = who.token ? path_format("Bearer %s", who.token) : NULL;
	struct identity_evidence e = {
		.local = !who.nobody && !who.certificate && !who.token,
		.peer_uid = who.uid,
		.authorization = header,
		.method = "GET",
		.target = "/",
	};
	autofree unsigned char *der = NULL;
	size_t length;

	if (!who.certificate)
		return identity_find(x, &e, offline ? NULL : db);
	der = fixture_der(who.certificate, &length);
	x->caller = (struct caller){.uid = -1, .roles = ROLE_ANYONE};
	return identity_find_certificate(x, der, length, offline ? NULL : db);
}

static int run(struct exchange *x)
{
	int status;

	if (x->route->kind != ROUTE_WRITE)
		return x->route->run ? x->route->run(x, db) : listing_run(x, db);
	assert_int_equal(sql_begin(db, &err), 0);
	status = x->route->run(x, db);
	if (status < 400)
		assert_int_equal(sql_commit(db, &err), 0);
	else
		sql_rollback(db);
	return status;
}

/* One request; takes `body`. Returns the status. */
static int ask(struct who who, const char *method, const char *path, json_t *body)
{
	struct exchange x = {
		.controller = &controller, .now_us = now_us, .query = json_object(), .body = body};
	const char *allow;
	int status = route_find(&x, method, path, &allow);

	if (status == 0)
		status = identify(&x, who);
	if (status == 0)
		status = route_check_caller(&x);
	if (status == 0)
		status = run(&x);
	json_decref(answer);
	answer = x.answer ? json_incref(x.answer) : NULL;
	exchange_done(&x);
	return status;
}

static const char *get(const char *name)
{
	const char *text = json_string_value(json_object_get(answer, name));

	return text ? text : "";
}

static void assert_says(const char *what)
{
	if (!strstr(get("error"), what))
		fail_msg("'%s' does not say '%s'", get("error"), what);
}

#define assert_status(call, wanted)                                       \
	do {                                                              \
		int status_ = (call);                                     \
		if (status_ != (wanted))                                  \
			fail_msg("status %d: %s", status_, get("error")); \
	} while (0)

static char *make_csr(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	char *csr = fixture_csr("whatever", key);

	EVP_PKEY_free(key);
	return csr;
}

static void make_groups(void)
{
	sql_change(db, NULL, "INSERT INTO hostgroup VALUES ('a', '', 1), ('b', '', 1)");
}

static void grant(const char *id, const char *subject, const char *role, const char *hostgroup)
{
	autofree char *path = path_format("/v1/roles/%s", id);

	assert_status(ask(root, "PUT", path,
			      json_pack("{s:s, s:s, s:s*}", "subject", subject, "role", role,
				      "hostgroup", hostgroup)),
		201);
}

/* A token to join with, for free(). */
static char *invite(const char *id, const char *node, const char *hostgroup)
{
	autofree char *path = path_format("/v1/tokens/%s", id);

	assert_status(ask(root, "PUT", path,
			      json_pack("{s:s, s:s*, s:s*}", "kind", "join", "name", node,
				      "hostgroup", hostgroup)),
		201);
	return strdup(get("token"));
}

static int join(const char *token, const char *node, const char *csr)
{
	return ask(nobody, "POST", "/v1/join",
		json_pack("{s:s, s:s, s:s}", "token", token, "node", node, "csr", csr));
}

/* Lets a node join, and returns its certificate, for free(). */
static char *join_node(const char *id, const char *node, const char *hostgroup)
{
	autofree char *token = invite(id, NULL, hostgroup), *csr = make_csr();

	assert_status(join(token, node, csr), 201);
	return strdup(get("certificate"));
}

static int64_t count(const char *sql)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;

	assert_int_equal(sql_select_once(db, &err, &rows, sql, NULL, 0), 0);
	assert_int_equal(sql_rows_next(rows, &err), 1);
	return sql_rows_number(rows, 0);
}

static void a_node_joins_and_is_known_by_its_certificate(void **state)
{
	autofree char *pem = join_node(ID(1), "n1", NULL);

	assert_status(ask((struct who){.certificate = pem}, "GET", "/v1/whoami", NULL), 200);
	assert_string_equal(get("kind"), "node");
	assert_string_equal(get("name"), "n1");
	assert_string_equal(get("how"), "certificate");
	assert_int_equal(strlen(get("serial")), 32);
	assert_int_equal(
		count("SELECT count(*) FROM node WHERE name = 'n1' AND state = 'joined'"), 1);
	assert_int_equal(count("SELECT count(*) FROM event WHERE kind = 'node.joined'"), 1);
	assert_status(ask(nobody, "GET", "/v1/ca", NULL), 200);
	assert_non_null(strstr(get("certificate"), "BEGIN CERTIFICATE"));
}

static void a_token_serves_once(void **state)
{
	autofree char *token = invite(ID(1), NULL, NULL), *csr = make_csr(), *other = make_csr();
	autofree char *pem = NULL;

	assert_status(join(token, "n1", csr), 201);
	pem = strdup(get("certificate"));
	assert_status(join(token, "n1", other), 403);
	assert_says("served already");
	assert_status(join(token, "n2", csr), 403);
	assert_int_equal(count("SELECT count(*) FROM node"), 1);
	/* The same again is an answer that was lost, also much later. */
	now_us = NOW + 20 * DAY;
	assert_status(join(token, "n1", csr), 200);
	assert_string_equal(get("certificate"), pem);
	assert_int_equal(count("SELECT count(*) FROM certificate"), 1);
	/* But not when it was revoked. */
	assert_int_equal(sql_change(db, &err, "UPDATE certificate SET revoked = 1"), 1);
	assert_status(join(token, "n1", csr), 403);
}

static void a_token_has_its_time_and_its_node(void **state)
{
	autofree char *token = invite(ID(1), "n7", NULL), *csr = make_csr();
	autofree char *withdrawn = invite(ID(2), NULL, NULL);

	assert_status(join(token, "n1", csr), 403);
	assert_says("n7");
	now_us = NOW + 2 * DAY;
	assert_status(join(token, "n7", csr), 403);
	assert_says("expired");
	now_us = NOW;
	assert_status(ask(root, "DELETE", "/v1/tokens/" ID(2), NULL), 204);
	assert_status(join(withdrawn, "n1", csr), 403);
	assert_status(join("wnodes_join_0", "n1", csr), 403);
	assert_status(join(token, "n7", "nonsense"), 400);
	assert_status(join(token, "n7", csr), 201);
}

static void nobody_takes_the_name_of_a_node(void **state)
{
	autofree char *pem = NULL, *token = NULL, *own = NULL, *csr = make_csr(), *again = NULL;

	make_groups();
	pem = join_node(ID(1), "n1", "a");
	token = invite(ID(2), NULL, "a");
	assert_status(join(token, "n1", csr), 409);
	assert_status(ask((struct who){.certificate = pem}, "GET", "/v1/whoami", NULL), 200);
	/* One that was made for it may, and the one before is not it any more. */
	own = invite(ID(3), "n1", NULL);
	assert_status(join(own, "n1", csr), 201);
	again = strdup(get("certificate"));
	assert_status(ask((struct who){.certificate = pem}, "GET", "/v1/whoami", NULL), 401);
	assert_says("joined again");
	assert_status(ask((struct who){.certificate = again}, "GET", "/v1/whoami", NULL), 200);
	assert_int_equal(count("SELECT count(*) FROM node WHERE hostgroup = 'a'"), 1);
}

static void a_node_renews_its_certificate(void **state)
{
	autofree char *pem = join_node(ID(1), "n1", NULL), *csr = make_csr(), *next = NULL;
	struct who n1 = {.certificate = pem};

	now_us = NOW + 20 * DAY;
	assert_status(
		ask(n1, "POST", "/v1/nodes/n2/certificate", json_pack("{s:s}", "csr", csr)), 403);
	assert_status(
		ask(root, "POST", "/v1/nodes/n1/certificate", json_pack("{s:s}", "csr", csr)), 403);
	assert_status(
		ask(n1, "POST", "/v1/nodes/n1/certificate", json_pack("{s:s}", "csr", csr)), 201);
	next = strdup(get("certificate"));
	assert_status(
		ask(n1, "POST", "/v1/nodes/n1/certificate", json_pack("{s:s}", "csr", csr)), 200);
	assert_string_equal(get("certificate"), next);
	assert_status(ask(n1, "GET", "/v1/whoami", NULL), 200);
	assert_status(ask(n1, "POST", "/v1/nodes/n1/certificate", json_object()), 400);
	assert_status(ask(n1, "POST", "/v1/nodes/n1/certificate", NULL), 400);
	now_us = NOW + 40 * DAY;
	assert_status(ask(n1, "GET", "/v1/whoami", NULL), 401);
	assert_says("expired");
	assert_status(ask((struct who){.certificate = next}, "GET", "/v1/whoami", NULL), 200);
}

static void a_node_makes_no_store_of_certificates(void **state)
{
	autofree char *pem = join_node(ID(1), "n1", NULL);
	int status = 201;

	for (int i = 0; i < 20 && status == 201; i++) {
		autofree char *csr = make_csr();

		status = ask((struct who){.certificate = pem}, "POST", "/v1/nodes/n1/certificate",
			json_pack("{s:s}", "csr", csr));
	}
	assert_int_equal(status, 429);
	assert_says("revoke");
	assert_int_equal(count("SELECT count(*) FROM certificate"), 16);
}

static void what_is_revoked_is_refused_at_once(void **state)
{
	autofree char *pem = join_node(ID(1), "n1", NULL), *path = NULL;
	struct who n1 = {.certificate = pem};

	assert_status(ask(n1, "GET", "/v1/whoami", NULL), 200);
	path = path_format("/v1/certificates/%s/revoke", get("serial"));
	assert_status(ask(n1, "POST", path, NULL), 403);
	assert_status(ask(root, "POST", path, json_pack("{s:s}", "reason", "it was stolen")), 200);
	assert_string_equal(get("reason"), "it was stolen");
	assert_status(ask(n1, "GET", "/v1/whoami", NULL), 401);
	assert_says("it was stolen");
	/* Once and for all. */
	assert_status(ask(root, "POST", path, json_pack("{s:s}", "reason", "another")), 200);
	assert_string_equal(get("reason"), "it was stolen");
	assert_int_equal(count("SELECT count(*) FROM event WHERE kind = 'certificate.revoked'"), 1);
	assert_status(ask(root, "POST", "/v1/certificates/77/revoke", NULL), 404);
	sql_change(db, NULL, "DELETE FROM certificate");
	assert_status(ask(n1, "GET", "/v1/whoami", NULL), 401);
	assert_says("not known");
}

static void a_stranger_is_not_a_node(void **state)
{
	autofree char *pem = join_node(ID(1), "n1", NULL);

	/* Another authority has signed it, of another site. */
	identity_free(controller.identity);
	controller.identity = identity_new();
	sql_change(db, NULL, "DELETE FROM site");
	free(join_node(ID(2), "n2", NULL));
	assert_status(ask((struct who){.certificate = pem}, "GET", "/v1/ca", NULL), 401);
	assert_says("join again");
}

static void host_groups_have_their_own_administrators(void **state)
{
	autofree char *a = NULL, *b = NULL, *path_a = NULL, *path_b = NULL;

	make_groups();
	grant(ID(7), "user:daemon", "administrator", "a");
	a = join_node(ID(1), "n1", "a");
	b = join_node(ID(2), "n2", "b");
	ask((struct who){.certificate = a}, "GET", "/v1/whoami", NULL);
	path_a = path_format("/v1/certificates/%s/revoke", get("serial"));
	ask((struct who){.certificate = b}, "GET", "/v1/whoami", NULL);
	path_b = path_format("/v1/certificates/%s/revoke", get("serial"));
	assert_status(ask(daemon_user, "GET", "/v1/certificates", NULL), 200);
	assert_int_equal(json_array_size(json_object_get(answer, "items")), 1);
	assert_status(ask(bin_user, "GET", "/v1/certificates", NULL), 403);
	assert_status(ask(bin_user, "POST", path_a, NULL), 403);
	assert_status(ask(daemon_user, "POST", path_b, NULL), 404);
	assert_status(ask(daemon_user, "POST", path_a, NULL), 200);
	assert_status(ask((struct who){.certificate = b}, "GET", "/v1/whoami", NULL), 200);
	/* They let nodes into their group, and into no other. */
	assert_status(ask(daemon_user, "PUT", "/v1/tokens/" ID(3),
			      json_pack("{s:s, s:s}", "kind", "join", "hostgroup", "a")),
		201);
	assert_status(ask(daemon_user, "PUT", "/v1/tokens/" ID(4),
			      json_pack("{s:s, s:s}", "kind", "join", "hostgroup", "b")),
		403);
	assert_status(
		ask(daemon_user, "PUT", "/v1/tokens/" ID(4), json_pack("{s:s}", "kind", "join")),
		403);
	assert_status(ask(daemon_user, "PUT", "/v1/tokens/" ID(4),
			      json_pack("{s:s, s:s, s:s}", "kind", "join", "hostgroup", "a", "name",
				      "n2")),
		409);
	assert_status(ask(daemon_user, "PUT", "/v1/tokens/" ID(4),
			      json_pack("{s:s, s:s}", "kind", "join", "name", "n2")),
		403);
	assert_status(ask(daemon_user, "PUT", "/v1/roles/" ID(5),
			      json_pack("{s:s, s:s, s:s}", "subject", "user:bin", "role",
				      "administrator", "hostgroup", "a")),
		403);
	assert_status(ask(root, "DELETE", "/v1/roles/" ID(7), NULL), 204);
	assert_status(ask(daemon_user, "GET", "/v1/certificates", NULL), 403);
}

static void a_token_says_who_its_owner_is(void **state)
{
	autofree char *token = NULL, *again = NULL;
	json_t *body = json_pack("{s:s}", "kind", "bearer");

	assert_status(ask(daemon_user, "PUT", "/v1/tokens/" ID(1), json_incref(body)), 201);
	token = strdup(get("token"));
	assert_non_null(str_after(token, "wnodes_user_"));
	assert_status(ask((struct who){.token = token}, "GET", "/v1/whoami", NULL), 200);
	assert_string_equal(get("name"), "daemon");
	assert_string_equal(get("how"), "token");
	/* Its secret is nowhere; made again, as its answer was lost, it has another one. */
	assert_status(ask(daemon_user, "GET", "/v1/tokens/" ID(1), NULL), 200);
	assert_string_equal(get("token"), "");
	assert_status(ask(daemon_user, "PUT", "/v1/tokens/" ID(1), json_incref(body)), 200);
	again = strdup(get("token"));
	assert_status(ask((struct who){.token = token}, "GET", "/v1/whoami", NULL), 401);
	assert_status(ask((struct who){.token = again}, "GET", "/v1/whoami", NULL), 200);
	/* Others see it not, and cannot have it. */
	assert_status(ask(bin_user, "GET", "/v1/tokens/" ID(1), NULL), 404);
	assert_status(ask(bin_user, "PUT", "/v1/tokens/" ID(1), json_incref(body)), 409);
	assert_status(ask(bin_user, "DELETE", "/v1/tokens/" ID(1), NULL), 404);
	now_us = NOW + 31 * DAY;
	assert_status(ask((struct who){.token = again}, "GET", "/v1/whoami", NULL), 401);
	assert_says("expired");
	now_us = NOW;
	assert_status(ask(daemon_user, "DELETE", "/v1/tokens/" ID(1), NULL), 204);
	assert_status(ask((struct who){.token = again}, "GET", "/v1/whoami", NULL), 401);
	assert_says("withdrawn");
	json_decref(body);
}

static void a_token_gives_no_more_than_its_owner_has(void **state)
{
	autofree char *plain = NULL, *full = NULL, *limited = NULL;

	make_groups();
	grant(ID(7), "user:daemon", "administrator", NULL);
	assert_status(
		ask(daemon_user, "PUT", "/v1/tokens/" ID(1), json_pack("{s:s}", "kind", "bearer")),
		201);
	plain = strdup(get("token"));
	assert_status(ask(daemon_user, "PUT", "/v1/tokens/" ID(2),
			      json_pack("{s:s, s:[s,s]}", "kind", "bearer", "roles",
				      "administrator", "endorser")),
		201);
	full = strdup(get("token"));
	assert_status(ask(daemon_user, "PUT", "/v1/tokens/" ID(3),
			      json_pack("{s:s, s:[s], s:s}", "kind", "bearer", "roles",
				      "administrator", "hostgroup", "a")),
		201);
	limited = strdup(get("token"));
	assert_status(ask((struct who){.token = plain}, "GET", "/v1/roles", NULL), 403);
	assert_status(ask((struct who){.token = full}, "GET", "/v1/roles", NULL), 200);
	assert_status(ask((struct who){.token = limited}, "GET", "/v1/roles", NULL), 403);
	assert_status(ask((struct who){.token = limited}, "GET", "/v1/certificates", NULL), 200);
	assert_status(ask((struct who){.token = full}, "GET", "/v1/whoami", NULL), 200);
	assert_int_equal(json_array_size(json_object_get(answer, "roles")), 2); /* no endorser */
	/* A token that was found does not live on in others. */
	assert_status(ask((struct who){.token = full}, "PUT", "/v1/tokens/" ID(4),
			      json_pack("{s:s}", "kind", "bearer")),
		403);
	assert_status(ask(root, "DELETE", "/v1/roles/" ID(7), NULL), 204);
	assert_status(ask((struct who){.token = full}, "GET", "/v1/roles", NULL), 403);
	assert_status(ask(bin_user, "PUT", "/v1/tokens/" ID(5),
			      json_pack("{s:s, s:s}", "kind", "bearer", "name", "daemon")),
		403);
	assert_status(ask(bin_user, "PUT", "/v1/tokens/" ID(5),
			      json_pack("{s:s, s:[s]}", "kind", "bearer", "roles", "root")),
		400);
	assert_status(
		ask(bin_user, "PUT", "/v1/tokens/a%20b", json_pack("{s:s}", "kind", "bearer")),
		400);
}

static void a_token_ends_with_its_owners_account(void **state)
{
	autofree char *token = NULL;

	assert_status(ask(root, "PUT", "/v1/tokens/" ID(1),
			      json_pack("{s:s, s:s}", "kind", "bearer", "name", "no-such-user")),
		201);
	token = strdup(get("token"));
	/* Made by an administrator for somebody from elsewhere: that is meant. */
	assert_status(ask((struct who){.token = token}, "GET", "/v1/whoami", NULL), 200);
	assert_string_equal(get("name"), "no-such-user");
	assert_true(json_is_null(json_object_get(answer, "uid")));
	/* One that was made for somebody with an account, by whomever, ends with it. */
	assert_status(ask(root, "PUT", "/v1/tokens/" ID(2),
			      json_pack("{s:s, s:s}", "kind", "bearer", "name", "daemon")),
		201);
	free(token);
	token = strdup(get("token"));
	assert_status(ask((struct who){.token = token}, "GET", "/v1/whoami", NULL), 200);
	sql_change(db, NULL, "UPDATE token SET name = 'no-more-user' WHERE name = 'daemon'");
	assert_status(ask((struct who){.token = token}, "GET", "/v1/whoami", NULL), 401);
	assert_says("no account any more");
	/* So does one from before that was noted, which its owner has made. */
	sql_change(db, NULL, "UPDATE token SET created_by = name, account = 0");
	assert_status(ask((struct who){.token = token}, "GET", "/v1/whoami", NULL), 401);
	assert_says("no account any more");
}

static void roles_come_from_settings_and_table(void **state)
{
	char one[] = "daemon", two[] = "@bin", *administrators[] = {one, two, NULL};
	char *none[] = {NULL};

	assert_status(ask(daemon_user, "GET", "/v1/roles", NULL), 403);
	settings.administrators = administrators;
	assert_status(ask(daemon_user, "GET", "/v1/roles", NULL), 200);
	assert_status(ask(bin_user, "GET", "/v1/roles", NULL), 200);
	settings.administrators = none;
	grant(ID(1), "group:bin", "administrator", NULL);
	assert_status(ask(bin_user, "GET", "/v1/roles", NULL), 200);
	assert_status(ask(daemon_user, "GET", "/v1/roles", NULL), 403);
	/* Users cannot give themselves a group by their name. */
	grant(ID(2), "user:@bin", "administrator", NULL);
	assert_status(ask(daemon_user, "GET", "/v1/roles", NULL), 403);
	assert_status(ask(nobody, "GET", "/v1/roles", NULL), 401);
}

static int put_role(const char *id, const char *subject, const char *role, const char *hostgroup)
{
	autofree char *path = path_format("/v1/roles/%s", id);

	return ask(root, "PUT", path,
		json_pack("{s:s, s:s, s:s*}", "subject", subject, "role", role, "hostgroup",
			hostgroup));
}

static void a_role_is_given_once(void **state)
{
	make_groups();
	grant(ID(1), "user:x", "administrator", "a");
	assert_int_equal(put_role(ID(1), "user:x", "administrator", "a"), 200);
	assert_int_equal(put_role(ID(2), "user:x", "administrator", "a"), 409);
	assert_int_equal(put_role(ID(1), "user:x", "administrator", "b"), 409);
	assert_int_equal(put_role(ID(2), "user:x", "administrator", "c"), 409);
	assert_int_equal(put_role(ID(2), "user:x", "endorser", "a"), 400);
	assert_int_equal(put_role(ID(2), "x", "endorser", NULL), 400);
	assert_int_equal(put_role(ID(2), "user:", "endorser", NULL), 400);
	assert_int_equal(put_role(ID(2), "user:user:x", "endorser", NULL), 400);
	assert_int_equal(put_role(ID(2), "user:x", "king", NULL), 400);
	assert_int_equal(put_role("%0A", "user:x", "endorser", NULL), 400);
	assert_int_equal(put_role(ID(2), "user:x", "endorser", NULL), 201);
	assert_int_equal(count("SELECT count(*) FROM event WHERE kind = 'role.granted'"), 2);
	assert_status(ask(root, "DELETE", "/v1/roles/" ID(3), NULL), 404);
}

static void what_is_shown_and_not_valid_is_never_passed_over(void **state)
{
	static const char no_one[] = "Bearer wnodes_user_00000000000000000000000000000000"
				     "00000000000000000000000000000000";
	static const char *const bad[] = {"", "Bearer", "Bearer ", "Basic cm9vdDo=", "Bearer a b",
		"Bearer \xc3\xa4", "MUNGE", "Bearer wnodes_user_", "Bearer wnodes_user_00", no_one};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct identity_evidence e = {.local = true,
			.peer_uid = 0,
			.authorization = bad[i],
			.method = "GET",
			.target = "/"};
		struct exchange x = {.controller = &controller, .now_us = NOW};

		assert_int_equal(identity_find(&x, &e, db), 401);
		assert_int_equal(x.caller.kind, CALLER_NOBODY);
		assert_int_equal(x.caller.roles, ROLE_ANYONE);
		exchange_done(&x);
	}
}

static void a_token_to_join_is_no_token_of_a_user(void **state)
{
	autofree char *token = invite(ID(1), NULL, NULL);

	assert_status(ask((struct who){.token = token}, "GET", "/v1/whoami", NULL), 401);
	assert_says("/v1/join");
}

static void without_the_database_those_are_known_who_need_none(void **state)
{
	autofree char *pem = join_node(ID(1), "n1", NULL), *token = NULL;

	assert_status(
		ask(root, "PUT", "/v1/tokens/" ID(2), json_pack("{s:s}", "kind", "bearer")), 201);
	token = strdup(get("token"));
	offline = true;
	assert_status(ask(root, "GET", "/v1/whoami", NULL), 200);
	assert_status(ask((struct who){.token = token}, "GET", "/v1/whoami", NULL), 503);
	assert_status(ask((struct who){.certificate = pem}, "GET", "/v1/whoami", NULL), 503);
	assert_status(ask((struct who){.uid = 54321}, "GET", "/v1/whoami", NULL), 401);
	assert_says("54321");
}

/* For what is open to everybody in another way: nodes are told to go it. */
static void without_the_database_a_certificate_serves_for_picks(void **state)
{
	autofree char *pem = join_node(ID(1), "n1", NULL);
	const struct who node = {.certificate = pem};

	offline = true;
	assert_status(ask(node, "POST", "/depot/pick", NULL), 401);
	offline = false;
	assert_status(ask(node, "POST", "/depot/pick", NULL), 400);
	offline = true;
	assert_status(ask(node, "POST", "/depot/pick", NULL), 400);
	assert_says("no pick");
	assert_status(ask(node, "GET", "/v1/whoami", NULL), 503);
}

/* What each thread has. */
struct crowd {
	pthread_t thread;
	const char *url;
	const char *token;
	const unsigned char *der;
	size_t length;
	int found;
};

static void *find_often(void *userdata)
{
	struct crowd *c = userdata;
	struct sql *own AUTO(sql_freep) = NULL;
	autofree char *header = path_format("Bearer %s", c->token);

	if (sql_open(c->url, &own, NULL) < 0)
		return NULL;
	for (int i = 0; i < 300; i++) {
		struct exchange x = {.controller = &controller, .now_us = NOW};
		struct identity_evidence e = {.local = true,
			.peer_uid = (uid_t)(i % 4),
			.authorization = i % 3 == 1 ? header : NULL,
			.method = "GET",
			.target = "/"};
		int status = i % 3 == 2 ? identity_find_certificate(&x, c->der, c->length, own)
					: identity_find(&x, &e, own);

		c->found += status == 0;
		exchange_done(&x);
	}
	return NULL;
}

static void callers_are_found_in_several_threads_at_once(void **state)
{
	autofree char *pem = join_node(ID(1), "n1", NULL);
	autofree unsigned char *der = NULL;
	struct crowd crowd[4];
	size_t length;

	assert_status(
		ask(root, "PUT", "/v1/tokens/" ID(2), json_pack("{s:s}", "kind", "bearer")), 201);
	der = fixture_der(pem, &length);
	for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
		crowd[i] = (struct crowd){
			.url = site_url, .token = get("token"), .der = der, .length = length};
		assert_int_equal(pthread_create(&crowd[i].thread, NULL, find_often, &crowd[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
		pthread_join(crowd[i].thread, NULL);
		assert_int_equal(crowd[i].found, 300);
	}
}

static void a_credential_is_for_its_request_alone(void **state)
{
	static const char said[] =
		"GET / e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	size_t n = strlen(said);

	assert_true(authorization_fits(said, n, "GET", "/", NULL, 0));
	assert_true(authorization_fits(said, n, "GET", "/", "", 0));
	assert_false(authorization_fits(said, n - 1, "GET", "/", NULL, 0));
	assert_false(authorization_fits(said, n, "GET", "/x", NULL, 0));
	assert_false(authorization_fits(said, n, "PUT", "/", NULL, 0));
	assert_false(authorization_fits(said, n, "GET", "/", "x", 1));
	assert_false(authorization_fits(NULL, 0, "GET", "/", NULL, 0));
}

static void what_was_seen_is_remembered_for_its_time(void **state)
{
	struct replay *r AUTO(replay_freep) = replay_new(1000);
	uint8_t key[REPLAY_KEY_SIZE] = {1};

	for (uint32_t i = 0; i < 5000; i++) {
		memcpy(key + 4, &i, sizeof(i));
		assert_int_equal(replay_add(r, key, 10), 0);
		assert_int_equal(replay_add(r, key, 11), -EEXIST);
	}
	assert_int_equal(replay_add(r, key, 1009), -EEXIST);
	assert_int_equal(replay_add(r, key, 1500), -EEXIST);
	key[15] = 7;
	assert_int_equal(replay_add(r, key, 1600), 0);
	assert_int_equal(replay_add(r, key, 2590), -EEXIST);
	assert_int_equal(replay_add(r, key, 9000), 0);
}

static void words_are_roles(void **state)
{
	char text[RIGHTS_WORDS_MAX];

	assert_int_equal(rights_parse("endorser user"), ROLE_USER | ROLE_ENDORSER);
	assert_int_equal(rights_parse("administratorx  "), 0);
	assert_string_equal(rights_format(rights_parse("administrator user endorser"), text),
		"user endorser administrator");
}

/* A test, and the kind of database that it is done with, which is what server_test.h looks at. */
struct each {
	enum sql_kind kind;
	void (*run)(void **state);
};

static void run_each(void **state)
{
	const struct each *each = *state;

	begin(state);
	each->run(state);
}

#define EACH_ON(sql, f)                                                                 \
	{                                                                               \
#f " (" #sql ")", run_each, server_test_setup, teardown, &(struct each) \
		{                                                                       \
			sql, f                                                          \
		}                                                                       \
	}
#define EACH(f) EACH_ON(SQL_SQLITE, f), EACH_ON(SQL_POSTGRES, f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(a_node_joins_and_is_known_by_its_certificate),
		EACH(a_token_serves_once),
		EACH(a_token_has_its_time_and_its_node),
		EACH(nobody_takes_the_name_of_a_node),
		EACH(a_node_renews_its_certificate),
		EACH(a_node_makes_no_store_of_certificates),
		EACH(what_is_revoked_is_refused_at_once),
		EACH(a_stranger_is_not_a_node),
		EACH(host_groups_have_their_own_administrators),
		EACH(a_token_says_who_its_owner_is),
		EACH(a_token_gives_no_more_than_its_owner_has),
		EACH(a_token_ends_with_its_owners_account),
		EACH(roles_come_from_settings_and_table),
		EACH(a_role_is_given_once),
		EACH(what_is_shown_and_not_valid_is_never_passed_over),
		EACH(a_token_to_join_is_no_token_of_a_user),
		EACH(without_the_database_those_are_known_who_need_none),
		EACH(without_the_database_a_certificate_serves_for_picks),
		EACH(callers_are_found_in_several_threads_at_once),
		cmocka_unit_test(a_credential_is_for_its_request_alone),
		cmocka_unit_test(what_was_seen_is_remembered_for_its_time),
		cmocka_unit_test(words_are_roles),
	};
	return cmocka_run_group_tests(tests, server_test_up, server_test_down);
}
