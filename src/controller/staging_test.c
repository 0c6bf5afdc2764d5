#include "controller/staging.h"

#include "controller/harness_test.h"
#include "controller/specimen_test.h"

#define ID        "00000000-0000-4000-8000-000000000007"
#define MINUTE_US (UINT64_C(60) * 1000000)

static char digest[DIGEST_HEX_SIZE];

static void add_nodes(int count, const char *group)
{
	for (int i = 1; i <= count; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%s%d", group, i);
		harness_add_node(name, group);
	}
	assert_true(sql_change(harness_db, &(struct error){0}, "UPDATE node SET state = 'up'") > 0);
}

static int stage(const char *who, const char *id, const char *group, int wave)
{
	return harness_ask(who, "POST /v1/stagings",
		json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "id", id, "digest", digest, "reference",
			"el9:latest", "group", group, "wave", wave, "reason", "new"));
}

static void tell(const char *node, const char *state, double done)
{
	char who[64], request[128];

	snprintf(who, sizeof(who), "node:%s", node);
	snprintf(request, sizeof(request), "PUT /v1/nodes/%s/images", node);
	assert_int_equal(harness_ask(who, request,
				 json_pack("{s:[{s:s, s:s, s:f, s:s}]}", "images", "digest", digest,
					 "state", state, "done", done, "reason",
					 streq(state, "failed") ? "no room" : "")),
		204);
}

/* waiting, fetching, done, failed as one number. */
static int counts(void)
{
	assert_int_equal(harness_ask("root", "GET /v1/stagings/" ID, NULL), 200);
	return (int)(harness_number("waiting") * 1000 + harness_number("fetching") * 100 +
		     harness_number("done") * 10 + harness_number("failed"));
}

static bool is_staged(const char *node)
{
	char who[64];

	snprintf(who, sizeof(who), "node:%s", node);
	assert_int_equal(harness_ask(who, "GET /v1/catalogue", NULL), 200);
	return harness_get("staged.0");
}

static void nodes_fetch_so_many_at_a_time(void **state)
{
	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	harness_ask("root", "PUT /v1/groups/wn", json_pack("{s:s}", "description", "x"));
	add_nodes(5, "wn");
	add_nodes(1, "other");
	tell("wn5", "complete", 1);
	assert_int_equal(stage("root", ID, "wn", 2), 201);
	assert_int_equal(stage("root", ID, "wn", 2), 200);
	assert_int_equal(counts(), 2210);
	assert_true(is_staged("wn1"));
	assert_false(is_staged("wn3"));
	assert_false(is_staged("other1"));
	tell("wn1", "fetching", 0.5);
	assert_int_equal(counts(), 2210);
	tell("wn1", "complete", 1);
	assert_int_equal(counts(), 1220);
	assert_true(is_staged("wn3"));
	tell("wn2", "failed", 0.1);
	assert_int_equal(counts(), 221);
	tell("wn3", "complete", 1);
	tell("wn4", "complete", 1);
	assert_int_equal(counts(), 41);
	assert_string_equal(harness_text("state"), "done");
	assert_int_equal(
		harness_ask("root", "GET /v1/stagings/" ID "/nodes?state=failed", NULL), 200);
	assert_string_equal(harness_text("items.0.node"), "wn2");
	assert_string_equal(harness_text("items.0.reason"), "no room");
	assert_int_equal(
		harness_count("SELECT count(*) FROM event WHERE kind = 'staging.done'"), 1);
	/* It is kept for a while, until that is taken back. */
	assert_true(is_staged("wn1"));
	assert_int_equal(harness_ask("root", "DELETE /v1/stagings/" ID, NULL), 204);
	assert_int_equal(harness_ask("root", "DELETE /v1/stagings/" ID, NULL), 204);
	assert_false(is_staged("wn1"));
}

static void who_stands_still_or_is_lost_fails(void **state)
{
	struct error err = {0};

	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	add_nodes(4, "wn");
	sql_change(harness_db, &err, "UPDATE node SET state = 'lost' WHERE name = 'wn4'");
	assert_int_equal(stage("root", ID, "", 1), 201);
	assert_int_equal(counts(), 2101);
	harness_now_us += 10 * MINUTE_US;
	tell("wn1", "fetching", 0.3);
	harness_now_us += 10 * MINUTE_US;
	assert_int_equal(staging_sweep(harness_db, harness_now_us, &err), 0);
	assert_int_equal(counts(), 2101);
	harness_now_us += 10 * MINUTE_US;
	assert_int_equal(staging_sweep(harness_db, harness_now_us, &err), 0);
	assert_int_equal(counts(), 1102);
	sql_change(harness_db, &err, "UPDATE node SET state = 'lost' WHERE name = 'wn2'");
	assert_int_equal(harness_ask_match("root", "DELETE /v1/nodes/wn3", "*", NULL), 204);
	assert_int_equal(staging_sweep(harness_db, harness_now_us, &err), 0);
	assert_int_equal(counts(), 4);
	assert_string_equal(harness_text("state"), "done");
	assert_int_equal(harness_ask("root", "GET /v1/stagings/" ID "/nodes", NULL), 200);
	assert_string_equal(
		harness_text("items.0.reason"), "nothing has come for a quarter of an hour");
	assert_string_equal(harness_text("items.1.reason"), "the node is lost");
	assert_string_equal(harness_text("items.2.reason"), "the node was removed");
}

static void a_group_is_staged_to_by_who_administers_it(void **state)
{
	struct error err = {0};

	harness_open(state);
	specimen_publish("el9", 1, false, digest);
	harness_ask("root", "PUT /v1/groups/wn", json_pack("{s:s}", "description", "x"));
	add_nodes(1, "wn");
	assert_int_equal(stage("admin:alice:wn", ID, "wn", 1), 409);
	assert_int_equal(specimen_change("root", digest, "approve", NULL), 200);
	assert_int_equal(stage("bob", ID, "wn", 1), 403);
	assert_int_equal(stage("admin:alice:wn", ID, "other", 1), 403);
	assert_int_equal(stage("admin:alice:wn", ID, "", 1), 403);
	assert_int_equal(stage("root", ID, "other", 1), 404);
	assert_int_equal(stage("root", ID, "wn", 0), 400);
	assert_int_equal(stage("root", "x", "wn", 1), 400);
	assert_int_equal(stage("admin:alice:wn", ID, "wn", 1), 201);
	assert_int_equal(harness_ask("admin:bob:other", "DELETE /v1/stagings/" ID, NULL), 403);
	/* Of an image that is revoked nobody needs it. */
	assert_int_equal(specimen_change("root", digest, "revoke", NULL), 200);
	assert_false(is_staged("wn1"));
	assert_int_equal(staging_sweep(harness_db, harness_now_us, &err), 0);
	assert_int_equal(harness_ask("root", "GET /v1/stagings?state=cancelled", NULL), 200);
	assert_string_equal(harness_text("items.0.id"), ID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(nodes_fetch_so_many_at_a_time),
		HARNESS_TEST(who_stands_still_or_is_lost_fails),
		HARNESS_TEST(a_group_is_staged_to_by_who_administers_it),
	};

	return HARNESS_RUN(tests);
}
