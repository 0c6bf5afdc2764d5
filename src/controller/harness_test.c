#include <errno.h>

#include "controller/controller.h"
#include "controller/edition.h"
#include "controller/node.h"
#include "controller/route.h"
#include "controller/schema.h"
#include "controller/target.h"
#include "lib/path.h"

#include "controller/harness_test.h"

#define NOW_US UINT64_C(1790000000000000)

struct sql *harness_db;
uint64_t harness_now_us;

/* As they are when nothing is set. */
static struct controller_settings settings = {
	.lost_after = UINT64_C(90000000),
	.lease_grace = UINT64_C(600000000),
	.private_images = 5,
	.private_size = UINT64_C(20) << 30,
	.volumes = 4,
	.volume_size = UINT64_C(10) << 30,
};
struct controller harness_controller = {.settings = &settings};

static struct exchange x;

int harness_setup(void **state)
{
	return server_test_setup(state);
}

void harness_open(void **state)
{
	const char *url = server_test_url(state);
	struct error err = {0};

	harness_now_us = MAX_OF(harness_now_us, NOW_US);
	if (sql_open(url, &harness_db, &err) < 0 || schema_upgrade(harness_db, &err) < 0)
		fail_msg("%s: %s", url, err.text);
}

int harness_teardown(void **state)
{
	exchange_done(&x);
	harness_db = sql_free(harness_db);
	return server_test_teardown(state);
}

static void set_caller(struct caller *c, const char *who)
{
	const char *name;

	*c = (struct caller){.kind = CALLER_USER, .roles = ROLE_ANYONE | ROLE_USER, .uid = 1000};
	snprintf(c->name, sizeof(c->name), "%s", who);
	if (streq(who, "root")) {
		c->roles |= ROLE_ADMINISTRATOR | ROLE_GROUP_ADMIN;
	} else if (streq(who, "nobody")) {
		*c = (struct caller){.roles = ROLE_ANYONE, .uid = -1};
	} else if ((name = str_after(who, "endorser:"))) {
		c->roles |= ROLE_ENDORSER;
		snprintf(c->name, sizeof(c->name), "%s", name);
	} else if ((name = str_after(who, "node:"))) {
		*c = (struct caller){
			.kind = CALLER_NODE, .roles = ROLE_ANYONE | ROLE_NODE, .uid = -1};
		snprintf(c->name, sizeof(c->name), "%s", name);
	} else if ((name = str_after(who, "admin:"))) {
		c->roles |= ROLE_GROUP_ADMIN;
		snprintf(c->name, sizeof(c->name), "%.*s", (int)strcspn(name, ":"), name);
		c->groups = calloc(2, sizeof(*c->groups));
		c->groups[0] = strdup(strchr(name, ':') + 1);
	}
}

/* As the writer does. */
static int write_or_read(void)
{
	struct error err = {0};
	int status;

	if (x.route->kind != ROUTE_WRITE)
		return x.route->run ? x.route->run(&x, harness_db) : listing_run(&x, harness_db);
	status = x.route->prepare ? x.route->prepare(&x) : 0;
	if (status)
		return status;
	assert_int_equal(sql_begin(harness_db, &err), 0);
	assert_int_equal(sql_savepoint(harness_db, &err), 0);
	status = x.route->run(&x, harness_db);
	if ((status < 400 ? sql_release : sql_undo)(harness_db, &err) < 0)
		fail_msg("%s: %s", x.route->path, err.text);
	assert_int_equal(sql_commit(harness_db, &err), 0);
	return status;
}

static int dispatch(const char *method, char *target)
{
	const char *allow;
	char *query = strchr(target, '?');
	struct error err = {0};
	int status;

	if (query)
		*query++ = '\0';
	status = route_find(&x, method, target, &allow);
	if (status == 0)
		status = route_check_caller(&x);
	if (status == 0 && query)
		status = target_parse_query(query, &x.query, &err) < 0 ? 400 : 0;
	if (status == 0)
		status = route_check_query(&x);
	return status ? status : write_or_read();
}

/* As it is sent. */
static void join_edition(void)
{
	autofree char *text = path_format("%s%s", x.text, x.edition->text + 1);

	x.answer = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(x.answer);
}

static int ask(const char *who, const char *request, const char *etag, json_t *body,
	const void *data, size_t length)
{
	autofree char *copy = strdup(request);
	char *target = strchr(copy, ' ');
	int status;

	assert_non_null(target);
	*target++ = '\0';
	exchange_done(&x);
	x.controller = &harness_controller;
	x.now_us = harness_now_us++;
	x.body = body;
	x.upload.data = data;
	x.upload.length = length;
	x.if_match = x.if_none_match = etag;
	set_caller(&x.caller, who);
	status = dispatch(copy, target);
	if (x.edition)
		join_edition();
	assert_int_equal(x.status, status);
	assert_int_equal(
		status == 204 || status == 304 || x.file.is || x.bytes.data, x.answer == NULL);
	return status;
}

int harness_ask_match(const char *who, const char *request, const char *etag, json_t *body)
{
	return ask(who, request, etag, body, NULL, 0);
}

int harness_send(const char *who, const char *request, const void *data, size_t length)
{
	return ask(who, request, NULL, NULL, data, length);
}

int harness_ask(const char *who, const char *request, json_t *body)
{
	return harness_ask_match(who, request, NULL, body);
}

json_t *harness_answer(void)
{
	return x.answer;
}

const char *harness_error(void)
{
	const char *text = json_string_value(json_object_get(x.answer, "error"));

	return text ? text : "";
}

json_t *harness_get(const char *path)
{
	autofree char *copy = strdup(path);
	char *rest = copy, *part;
	json_t *at = x.answer;

	while (at && (part = strsep(&rest, ".")))
		at = json_is_array(at) ? json_array_get(at, strtoul(part, NULL, 10))
				       : json_object_get(at, part);
	return at;
}

const char *harness_text(const char *path)
{
	const char *text = json_string_value(harness_get(path));

	return text ? text : "";
}

int64_t harness_number(const char *path)
{
	json_t *value = harness_get(path);

	return json_is_integer(value) ? json_integer_value(value) : -1;
}

const char *harness_etag(void)
{
	return x.etag;
}

const void *harness_bytes(size_t *ret_length)
{
	*ret_length = x.bytes.length;
	return x.bytes.data;
}

int64_t harness_count(const char *sql)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	struct error err = {0};

	if (sql_select_once(harness_db, &err, &rows, sql, NULL, 0) < 0 ||
		sql_rows_next(rows, &err) <= 0)
		fail_msg("%s: %s", sql, err.text);
	return sql_rows_number(rows, 0);
}

void harness_add_node(const char *name, const char *group)
{
	struct error err = {0};

	assert_int_equal(sql_begin(harness_db, &err), 0);
	assert_int_equal(node_add(harness_db, name, group, harness_now_us, &err), 1);
	assert_int_equal(sql_commit(harness_db, &err), 0);
}

json_t *harness_json(const char *text)
{
	autofree char *copy = strdup(text);
	json_error_t error;
	json_t *json;

	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	json = json_loads(copy, 0, &error);
	if (!json)
		fail_msg("%s: %s", copy, error.text);
	return json;
}
