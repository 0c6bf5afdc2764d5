/* Requests to the controller, as anyone can send them who has shown who he is, up to their answers:
 * "METHOD TARGET", a line feed, and the body. The first byte says who asks. */
#include <assert.h>
#include <stdio.h>

#include "controller/controller.h"
#include "controller/identity.h"
#include "controller/node.h"
#include "controller/route.h"
#include "controller/schema.h"
#include "controller/target.h"
#include "lib/log.h"

/* More than any struct that a route's fields fill. */
#define STRUCT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct controller controller;
static struct sql *db;
static bool keep; /* what a request has done */

static void set_caller(struct caller *ret, uint8_t who)
{
	static const struct caller callers[] = {
		{CALLER_NOBODY, ROLE_ANYONE, .uid = -1, .how = "none"},
		{CALLER_NODE, ROLE_ANYONE | ROLE_NODE, "wn1", -1, "0a", NULL, "certificate"},
		{CALLER_USER, ROLE_ANYONE | ROLE_USER, "alice", 1000, "", NULL, "munge"},
		{CALLER_USER, ROLE_ANYONE | ROLE_USER | ROLE_ADMINISTRATOR, "root", 0, "", NULL,
			"socket"},
	};

	*ret = callers[who % ARRAY_SIZE(callers)];
}

static void check_fields(struct exchange *x)
{
	static uint64_t room[STRUCT_MAX / sizeof(uint64_t)];
	struct error err = {0};

	for (const struct field *row = x->route->body; row->name; row++)
		assert(row->offset + row->max < STRUCT_MAX || row->type == FIELD_NUMBER ||
			row->type == FIELD_LINES || row->type == FIELD_LIST);
	memset(room, 0, sizeof(room));
	assert(fields_parse(x->route->body, x->body, room, &err) == 0 || err.text[0]);
}

/* A handler fails for what it is sent, not because of it. */
static void run(struct exchange *x)
{
	struct error err = {0};

	assert(sql_begin(db, &err) == 0);
	x->status = x->route->run ? x->route->run(x, db) : listing_run(x, db);
	if (keep)
		assert(x->status < 300 && sql_commit(db, &err) == 0);
	else
		sql_rollback(db);
	assert(x->status >= 200 && x->status < 500);
}

static void serve(struct exchange *x, const char *method, char *target, const char *body)
{
	char *query = strchr(target, '?');
	struct error err = {0};
	const char *allow;
	int status;

	if (query)
		*query++ = '\0';
	status = route_find(x, method, target, &allow);
	if (status == 0)
		status = route_check_caller(x);
	if (status == 0 && target_parse_query(query, &x->query, &err) < 0)
		status = exchange_fail(x, 400, "%s", err.text);
	if (status == 0)
		status = route_check_query(x);
	if (status == 0 && x->route->body)
		status = exchange_parse_body(x, body, strlen(body));
	if (status == 0 && x->route->body && !x->body)
		status = exchange_fail(x, 400, "the body is missing");
	if (status > 0 || x->route->kind == ROUTE_PLAIN)
		return;
	if (x->route->body)
		check_fields(x);
	run(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct exchange x = {.controller = &controller, .now_us = UINT64_C(1795283460000000)};
	autofree char *text = size > 0 ? strndup((const char *)data + 1, size - 1) : NULL;
	char *rest = text, *line, *method;

	if (!text)
		return 0;
	line = strsep(&rest, "\n");
	method = strsep(&line, " ");
	set_caller(&x.caller, data[0]);
	if (line)
		serve(&x, method, line, rest ? rest : "");
	if (x.answer) {
		autofree char *answer = json_dumps(x.answer, JSON_COMPACT);

		assert(answer);
	}
	x.caller.groups = NULL;
	exchange_done(&x);
	return 0;
}

/* So that requests find something. */
static void make_site(void)
{
	static const char *const requests[] = {
		"3PUT /v1/groups/blue\n{\"description\":\"a group\"}",
		"3PUT /v1/pools/p\n{\"vlan\":7,\"domain\":\"example.org\",\"host_pattern\":\"wn-%04d\","
		"\"first_address\":\"10.1.0.10\",\"size\":5,\"prefix\":24,\"gateway\":\"10.1.0.1\","
		"\"nameservers\":[\"10.1.0.2\"],\"mac_prefix\":\"52:54:01\"}",
		"1PUT /v1/leases/00000000-0000-4000-8000-000000000004\n{\"pool\":\"p\"}",
	};
	struct error err = {0};

	assert(sql_begin(db, &err) == 0 && node_add(db, "wn1", "blue", 1, &err) == 1);
	assert(sql_commit(db, &err) == 0);
	keep = true;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		LLVMFuzzerTestOneInput((const uint8_t *)requests[i], strlen(requests[i]));
	keep = false;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static struct controller_settings settings;
	char directory[] = "/tmp/wnodes-fuzz.XXXXXX", url[64], command[64];
	struct error err = {0};

	log_set("fuzz", LOG_LEVEL_ERROR);
	assert(mkdtemp(directory));
	snprintf(url, sizeof(url), "sqlite:%s/db", directory);
	assert(conf_init(controller_settings_table, &settings, &err) == 0);
	controller.settings = &settings;
	controller.identity = identity_new();
	assert(controller.identity && sql_open(url, &db, &err) == 0);
	assert(schema_upgrade(db, &err) == 0);
	make_site();
	/* Open files go on to be there. */
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert(system(command) == 0);
	return 0;
}
