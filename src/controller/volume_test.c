#include "controller/harness_test.h"
#include "controller/node.h"
#include "controller/volume.h"

#define A1 "00000000-0000-4000-8000-0000000000a1"
#define A2 "00000000-0000-4000-8000-0000000000a2"
#define VM "00000000-0000-4000-8000-0000000000f1"

static int post(const char *node, const char *body)
{
	char who[64], request[64];

	snprintf(who, sizeof(who), "node:%s", node);
	snprintf(request, sizeof(request), "POST /v1/nodes/%s/volumes", node);
	return harness_ask(who, request, harness_json(body));
}

/* Two nodes, of which `home` keeps volumes. */
static void open_site(void **state)
{
	harness_open(state);
	harness_add_node("home", "");
	harness_add_node("wn1", "");
	harness_add_node("wn2", "");
	sql_change(harness_db, NULL, "UPDATE node SET state = 'up', seen = 1");
	assert_int_equal(post("home", "{'store':{'address':'home.example.org',"
				      "'free_bytes':1000000000000}}"),
		200);
}

static int create(const char *who, const char *name, json_int_t size)
{
	char request[128];

	snprintf(request, sizeof(request), "PUT /v1/volumes/%s", name);
	return harness_ask(who, request, json_pack("{s:I}", "size_bytes", size));
}

/* Its node has made it. */
static void create_made(const char *who, const char *name)
{
	char id[UUID_TEXT_SIZE], body[256];

	assert_int_equal(create(who, name, 1 << 30), 201);
	snprintf(id, sizeof(id), "%s", harness_text("id"));
	snprintf(body, sizeof(body), "{'made':[{'id':'%s','size_bytes':1073741824}]}", id);
	assert_int_equal(post("home", body), 200);
}

static int attach(const char *node, const char *id, const char *volume, bool read_only)
{
	char body[512];

	snprintf(body, sizeof(body),
		"{'attach':[{'id':'%s','volume':'%s','user':'alice','vm':'" VM
		"','read_only':%s}]}",
		id, volume, read_only ? "true" : "false");
	return post(node, body);
}

static int serve(const char *id, int generation)
{
	char body[256];

	snprintf(body, sizeof(body), "{'served':[{'id':'%s','generation':%d,'port':4711}]}", id,
		generation);
	return post("home", body);
}

static int detach(const char *node, const char *id)
{
	char body[128];

	snprintf(body, sizeof(body), "{'detach':['%s']}", id);
	return post(node, body);
}

static void a_volume_is_made_by_its_node(void **state)
{
	open_site(state);
	assert_int_equal(create("alice", "data", 1 << 30), 201);
	assert_string_equal(harness_text("state"), "making");
	assert_string_equal(harness_text("owner"), "alice");
	assert_string_equal(harness_text("node"), "home");
	assert_int_equal(create("alice", "data", 1 << 30), 200);
	assert_int_equal(create("alice", "data", 1 << 29), 409);
	assert_int_equal(harness_ask("node:home", "GET /v1/nodes/home/volumes", NULL), 200);
	assert_string_equal(harness_text("volumes.0.state"), "making");
	assert_int_equal(harness_ask("node:wn1", "GET /v1/nodes/home/volumes", NULL), 403);
	assert_int_equal(attach("wn1", A1, "data", false), 200);
	assert_non_null(strstr(harness_text("refused.0.error"), "is making"));
	harness_ask("alice", "DELETE /v1/volumes/data", NULL);
	assert_int_equal(harness_ask("alice", "GET /v1/volumes/data", NULL), 200);
	assert_string_equal(harness_text("state"), "deleting");
	assert_int_equal(harness_count("SELECT count(*) FROM event WHERE kind LIKE 'volume.%'"), 2);
}

static void others_do_not_see_it(void **state)
{
	open_site(state);
	create_made("alice", "data");
	assert_int_equal(harness_ask("bob", "GET /v1/volumes/data", NULL), 404);
	assert_int_equal(harness_ask("bob", "GET /v1/volumes/alice%2Fdata", NULL), 404);
	assert_int_equal(harness_ask("bob", "DELETE /v1/volumes/alice%2Fdata", NULL), 204);
	assert_int_equal(harness_ask("root", "GET /v1/volumes/alice%2Fdata", NULL), 200);
	assert_string_equal(harness_text("state"), "available");
	assert_int_equal(create("bob", "data", 1 << 20), 201);
	assert_int_equal(harness_ask("bob", "GET /v1/volumes", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 1);
	assert_int_equal(harness_ask("nobody", "GET /v1/volumes", NULL), 401);
	assert_int_equal(attach("wn1", A1, "bob/data", true), 200);
	assert_non_null(strstr(harness_text("refused.0.error"), "has no volume"));
}

static void users_have_a_quota(void **state)
{
	open_site(state);
	assert_int_equal(create("alice", "large", INT64_C(11) << 30), 403);
	assert_int_equal(create("alice", "a", INT64_C(9) << 30), 201);
	assert_int_equal(create("alice", "b", INT64_C(2) << 30), 403);
	assert_non_null(strstr(harness_error(), "volume_size"));
	for (int i = 0; i < 3; i++)
		assert_int_equal(create("alice", (char[]){(char)('c' + i), 0}, 1 << 20), 201);
	assert_int_equal(create("alice", "f", 1 << 20), 403);
	assert_non_null(strstr(harness_error(), "(volumes)"));
	assert_int_equal(create("bob", "a", 1 << 20), 201);
}

static void one_writes_or_several_read(void **state)
{
	open_site(state);
	create_made("alice", "data");
	assert_int_equal(attach("wn1", A1, "data", false), 200);
	assert_int_equal(harness_number("attachments.0.generation"), 1);
	assert_string_equal(harness_text("attachments.0.state"), "attaching");
	assert_int_equal(strlen(harness_text("attachments.0.key")), 64);
	assert_int_equal(attach("wn1", A1, "data", false), 200);
	assert_int_equal(harness_number("attachments.0.generation"), 1);
	assert_int_equal(attach("wn2", A1, "data", false), 200);
	assert_non_null(strstr(harness_text("refused.0.error"), "take a new id"));
	assert_int_equal(attach("wn2", A2, "data", false), 200);
	assert_non_null(strstr(harness_text("refused.0.error"), "on node 'wn1'"));
	assert_int_equal(attach("wn2", A2, "data", true), 200);
	assert_int_equal(json_array_size(harness_get("refused")), 1);

	/* Not of another node, nor of a generation before. */
	assert_int_equal(serve(A1, 7), 200);
	assert_int_equal(harness_ask("alice", "GET /v1/attachments/" A1, NULL), 200);
	assert_string_equal(harness_text("state"), "attaching");
	assert_int_equal(serve(A1, 1), 200);
	assert_int_equal(harness_ask("node:wn1", "GET /v1/nodes/wn1/volumes", NULL), 200);
	assert_string_equal(harness_text("attachments.0.state"), "attached");
	assert_int_equal(harness_number("attachments.0.port"), 4711);
	assert_string_equal(harness_text("attachments.0.address"), "home.example.org");

	assert_int_equal(harness_ask("alice", "DELETE /v1/volumes/data", NULL), 409);
	assert_int_equal(harness_ask("alice", "PATCH /v1/volumes/data",
				 json_pack("{s:I}", "size_bytes", (json_int_t)1 << 31)),
		409);
	assert_int_equal(detach("wn2", A1), 200);
	assert_int_equal(harness_count("SELECT count(*) FROM attachment"), 1);
	assert_int_equal(detach("wn1", A1), 200);
	assert_int_equal(harness_count("SELECT count(*) FROM attachment"), 0);
	assert_int_equal(attach("wn2", A2, "data", true), 200);
	assert_int_equal(harness_number("attachments.0.generation"), 2);
	assert_int_equal(attach("wn1", A1, "data", true), 200);
	assert_int_equal(json_array_size(harness_get("refused")), 0);
	assert_int_equal(harness_count("SELECT count(*) FROM attachment"), 2);
}

/* Not before the grace is over, though the node is lost: it may be alive. */
static void a_dead_node_keeps_it_for_a_while(void **state)
{
	const struct node_sweep early = {
		.now_us = 2000, .lost_after_us = 100, .lease_grace_us = 5000};
	struct node_sweep late = early;
	struct error err = {0};

	open_site(state);
	create_made("alice", "data");
	attach("wn1", A1, "data", false);
	sql_change(harness_db, NULL, "UPDATE node SET seen = 100000 WHERE name <> 'wn1'");
	assert_true(node_sweep(harness_db, &early, &err) >= 0);
	assert_int_equal(harness_count("SELECT count(*) FROM node WHERE state = 'lost'"), 1);
	assert_int_equal(attach("wn2", A2, "data", false), 200);
	assert_non_null(strstr(harness_text("refused.0.error"), "which is lost"));
	late.now_us = 7001;
	assert_true(node_sweep(harness_db, &late, &err) >= 0);
	assert_int_equal(harness_count("SELECT count(*) FROM attachment"), 0);
	assert_int_equal(attach("wn2", A2, "data", false), 200);
	assert_int_equal(harness_number("attachments.0.generation"), 2);
	assert_int_equal(harness_ask("node:home", "GET /v1/nodes/home/volumes", NULL), 200);
	assert_int_equal(json_array_size(harness_get("served")), 1);
	assert_string_equal(harness_text("served.0.id"), A2);
}

static void without_its_data_it_is_not_attached(void **state)
{
	open_site(state);
	create_made("alice", "data");
	sql_change(harness_db, NULL, "UPDATE node SET state = 'lost' WHERE name = 'home'");
	assert_int_equal(attach("wn1", A1, "data", false), 200);
	assert_non_null(strstr(harness_text("refused.0.error"), "'home', which is lost"));
	assert_int_equal(create("alice", "other", 1 << 20), 409);
	assert_int_equal(harness_ask("alice", "DELETE /v1/volumes/data?force=true", NULL), 403);
	assert_int_equal(
		harness_ask("root", "DELETE /v1/volumes/alice%2Fdata?force=true", NULL), 204);
	assert_int_equal(harness_count("SELECT count(*) FROM volume"), 0);
}

static void it_is_copied_and_grows_while_nobody_writes(void **state)
{
	char source[UUID_TEXT_SIZE], body[256];

	open_site(state);
	create_made("alice", "data");
	attach("wn1", A1, "data", false);
	assert_int_equal(
		harness_ask("alice", "PUT /v1/volumes/copy", json_pack("{s:s}", "source", "data")),
		409);
	detach("wn1", A1);
	assert_int_equal(
		harness_ask("alice", "PUT /v1/volumes/copy", json_pack("{s:s}", "source", "data")),
		201);
	snprintf(source, sizeof(source), "%s", harness_text("source"));
	assert_int_equal(
		harness_ask("alice", "PUT /v1/volumes/copy", json_pack("{s:s}", "source", source)),
		200);
	assert_int_equal(harness_number("size_bytes"), 1 << 30);
	attach("wn1", A1, "data", false);
	assert_non_null(strstr(harness_text("refused.0.error"), "being copied"));
	attach("wn1", A1, "data", true);
	assert_int_equal(json_array_size(harness_get("refused")), 0);
	detach("wn1", A1);
	sql_change(harness_db, NULL, "UPDATE volume SET state = 'available'");
	assert_int_equal(harness_ask("alice", "PATCH /v1/volumes/data",
				 json_pack("{s:I}", "size_bytes", (json_int_t)1 << 31)),
		200);
	assert_string_equal(harness_text("state"), "growing");
	snprintf(body, sizeof(body),
		"{'made':[{'id':'%s','size_bytes':1073741824,'error':'no room'}]}", source);
	assert_int_equal(post("home", body), 200);
	assert_int_equal(harness_ask("alice", "GET /v1/volumes/data", NULL), 200);
	assert_string_equal(harness_text("state"), "available");
	assert_string_equal(harness_text("reason"), "no room");
	assert_int_equal(harness_number("size_bytes"), 1 << 30);
	assert_int_equal(harness_ask("alice", "PATCH /v1/volumes/data",
				 json_pack("{s:I}", "size_bytes", (json_int_t)1 << 20)),
		409);
}

static void its_owner_takes_it_away_and_its_node_removes_it(void **state)
{
	char id[UUID_TEXT_SIZE], body[128];

	open_site(state);
	create_made("alice", "data");
	attach("wn1", A1, "data", false);
	assert_int_equal(harness_ask("bob", "DELETE /v1/attachments/" A1, NULL), 204);
	assert_int_equal(harness_count("SELECT count(*) FROM attachment"), 1);
	assert_int_equal(harness_ask("alice", "DELETE /v1/attachments/" A1, NULL), 204);
	assert_int_equal(harness_count("SELECT count(*) FROM attachment"), 0);
	assert_int_equal(harness_ask("alice", "DELETE /v1/volumes/data", NULL), 204);
	assert_int_equal(harness_ask("alice", "GET /v1/volumes/data", NULL), 200);
	snprintf(id, sizeof(id), "%s", harness_text("id"));
	snprintf(body, sizeof(body), "{'gone':['%s']}", id);
	assert_int_equal(post("wn1", body), 200);
	assert_int_equal(harness_count("SELECT count(*) FROM volume"), 1);
	assert_int_equal(post("home", body), 200);
	assert_int_equal(harness_count("SELECT count(*) FROM volume"), 0);
	assert_int_equal(harness_ask("alice", "DELETE /v1/volumes/data", NULL), 204);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(a_volume_is_made_by_its_node),
		HARNESS_TEST(others_do_not_see_it),
		HARNESS_TEST(users_have_a_quota),
		HARNESS_TEST(one_writes_or_several_read),
		HARNESS_TEST(a_dead_node_keeps_it_for_a_while),
		HARNESS_TEST(without_its_data_it_is_not_attached),
		HARNESS_TEST(it_is_copied_and_grows_while_nobody_writes),
		HARNESS_TEST(its_owner_takes_it_away_and_its_node_removes_it),
	};

	return HARNESS_RUN(tests);
}
