#include "controller/peer.h"

#include "controller/controller.h"
#include "controller/harness_test.h"
#include "controller/roster.h"
#include "controller/specimen_test.h"

#define SECOND_US UINT64_C(1000000)

static char digest[DIGEST_HEX_SIZE];

/* A node that is up tells that it has something of the image. */
static int tell(const char *node, const char *rack, const char *state, double done)
{
	char who[64], request[128], address[64];

	snprintf(who, sizeof(who), "node:%s", node);
	snprintf(request, sizeof(request), "PUT /v1/nodes/%s/images", node);
	snprintf(address, sizeof(address), "https://%s:8444", node);
	return harness_ask(who, request,
		json_pack("{s:s, s:s, s:[{s:s, s:s, s:f}]}", "address", address, "rack", rack,
			"images", "digest", digest, "state", state, "done", done));
}

static void add(const char *node, const char *rack, const char *state, double done)
{
	harness_add_node(node, "");
	assert_int_equal(
		sql_change(harness_db, &(struct error){0}, "UPDATE node SET state = 'up'") > 0, 1);
	assert_int_equal(tell(node, rack, state, done), 204);
}

/* How many peers a node is named. */
static size_t ask(const char *node)
{
	char who[64], request[128];

	snprintf(who, sizeof(who), "node:%s", node);
	snprintf(request, sizeof(request), "GET /v1/images/%s/peers", digest);
	assert_int_equal(harness_ask(who, request, NULL), 200);
	return json_array_size(harness_get("peers"));
}

static int report(const char *node, const char *peer)
{
	char who[64], request[128];

	snprintf(who, sizeof(who), "node:%s", node);
	snprintf(request, sizeof(request), "POST /v1/nodes/%s/images/report", node);
	return harness_ask(who, request,
		json_pack("{s:s, s:s, s:s}", "peer", peer, "chunk", digest, "reason", "bad bytes"));
}

static void who_has_something_is_named_the_same_rack_first(void **state)
{
	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	add("wn1", "r1", "fetching", 0.5);
	assert_int_equal(ask("wn1"), 0);
	for (int i = 2; i < 40; i++) {
		char name[16];

		snprintf(name, sizeof(name), "wn%d", i);
		add(name, i % 10 == 0 ? "r1" : "r2", "complete", 1);
	}
	add("empty", "r1", "fetching", 0);
	assert_int_equal(ask("wn1"), 20);
	for (int i = 0; i < 4; i++) {
		char path[32];

		snprintf(path, sizeof(path), "peers.%d.rack", i);
		assert_string_equal(harness_text(path), i < 3 ? "r1" : "r2");
	}
	assert_non_null(strstr(harness_text("peers.0.address"), "https://wn"));
}

static void other_racks_are_named_however_many_are_in_the_own_one(void **state)
{
	int far = 0;

	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	add("wn1", "r1", "fetching", 0.5);
	for (int i = 2; i < 60; i++) {
		char name[16];

		snprintf(name, sizeof(name), "wn%d", i);
		add(name, i < 45 ? "r1" : "r2", "complete", 1);
	}
	assert_int_equal(ask("wn1"), 20);
	for (int i = 0; i < 20; i++) {
		char path[32];

		snprintf(path, sizeof(path), "peers.%d.rack", i);
		far += streq(harness_text(path), "r2");
	}
	assert_int_equal(far, 10);
}

static void what_is_known_of_an_image_is_good_for_a_second(void **state)
{
	harness_open(state);
	harness_controller.rosters = rosters_new();
	specimen_publish("el9", 1, true, digest);
	add("wn1", "r1", "fetching", 0.5);
	add("wn2", "r1", "complete", 1);
	assert_int_equal(ask("wn1"), 1);
	add("wn3", "r1", "complete", 1);
	assert_int_equal(ask("wn1"), 1);
	/* Nobody is named to itself, and of whom it has complained is not named to it. */
	assert_int_equal(ask("wn2"), 1);
	assert_string_equal(harness_text("peers.0.node"), "wn1");
	assert_int_equal(report("wn1", "wn2"), 204);
	assert_int_equal(ask("wn1"), 0);
	harness_now_us += 2 * SECOND_US;
	assert_int_equal(ask("wn1"), 1);
	assert_string_equal(harness_text("peers.0.node"), "wn3");
	harness_controller.rosters = rosters_free(harness_controller.rosters);
}

static void who_is_gone_lost_or_silent_is_not_named(void **state)
{
	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	add("wn1", "", "fetching", 0.1);
	add("wn2", "", "complete", 1);
	add("wn3", "", "complete", 1);
	add("wn4", "", "complete", 1);
	assert_int_equal(ask("wn1"), 3);
	sql_change(harness_db, &(struct error){0},
		"UPDATE node SET state = 'lost' WHERE name = 'wn2'");
	assert_int_equal(ask("wn1"), 2);
	assert_int_equal(harness_ask_match("root", "DELETE /v1/nodes/wn3", "*", NULL), 204);
	assert_int_equal(ask("wn1"), 1);
	assert_int_equal(harness_count("SELECT count(*) FROM porter WHERE node = 'wn3'"), 0);
	harness_now_us += 30 * SECOND_US;
	assert_int_equal(tell("wn1", "", "fetching", 0.2), 204);
	harness_now_us += 30 * SECOND_US;
	assert_int_equal(ask("wn1"), 0);
	assert_int_equal(ask("wn4"), 1);
}

static void the_same_again_changes_nothing_and_what_is_gone_goes(void **state)
{
	char path[128];

	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	add("wn1", "", "fetching", 0.25);
	assert_int_equal(harness_count("SELECT done FROM node_image"), 250);
	harness_now_us += SECOND_US;
	assert_int_equal(tell("wn1", "", "fetching", 0.25), 204);
	assert_int_equal(
		harness_count("SELECT count(*) FROM porter WHERE seen > (SELECT updated FROM"
			      " node_image)"),
		1);
	snprintf(path, sizeof(path), "GET /v1/images/%s/nodes", digest);
	assert_int_equal(harness_ask("alice", path, NULL), 200);
	assert_string_equal(harness_text("items.0.node"), "wn1");
	assert_int_equal(harness_ask("root", "GET /v1/nodes/wn1/images", NULL), 200);
	assert_string_equal(harness_text("items.0.name"), "el9");
	assert_int_equal(
		harness_ask("node:wn1", "PUT /v1/nodes/wn1/images", harness_json("{'images':[]}")),
		204);
	assert_int_equal(harness_count("SELECT count(*) FROM node_image"), 0);
}

static void what_is_wrong_is_not_taken(void **state)
{
	static const char *const wrong[] = {
		"{'images':7}",
		"{'images':[7]}",
		"{'images':[{'digest':'x','state':'complete'}]}",
		"{'images':[],'address':'http://wn1:1'}",
		"{'images':[],'address':'https://wn1/../'}",
		"{'images':[],'rack':['r']}",
		"{}",
	};

	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(
			harness_ask("node:wn1", "PUT /v1/nodes/wn1/images", harness_json(wrong[i])),
			400);
	assert_int_equal(
		harness_ask("node:wn1", "PUT /v1/nodes/wn2/images", harness_json("{'images':[]}")),
		403);
	assert_int_equal(
		harness_ask("alice", "PUT /v1/nodes/wn1/images", harness_json("{'images':[]}")),
		403);
	/* An image that the catalogue does not know is the node's own affair. */
	memset(digest, 'a', sizeof(digest) - 1);
	add("wn1", "", "complete", 1);
	assert_int_equal(harness_count("SELECT count(*) FROM node_image"), 0);
}

static void two_complaints_make_a_bad_name_for_a_while(void **state)
{
	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	for (int i = 1; i < 5; i++) {
		char name[16];

		snprintf(name, sizeof(name), "wn%d", i);
		add(name, "", "complete", 1);
	}
	assert_int_equal(report("wn1", "wn4"), 204);
	assert_int_equal(report("wn1", "wn4"), 204);
	assert_int_equal(
		harness_count("SELECT count(*) FROM event WHERE kind = 'node.reported'"), 1);
	assert_int_equal(ask("wn1"), 2);
	assert_int_equal(ask("wn2"), 3);
	assert_int_equal(report("wn2", "wn4"), 204);
	assert_int_equal(ask("wn3"), 2);
	assert_int_equal(report("wn2", "nobody"), 404);
	harness_now_us += 660 * SECOND_US;
	for (int i = 1; i < 5; i++) {
		char name[16];

		snprintf(name, sizeof(name), "wn%d", i);
		assert_int_equal(tell(name, "", "complete", 1), 204);
	}
	assert_int_equal(ask("wn3"), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(who_has_something_is_named_the_same_rack_first),
		HARNESS_TEST(other_racks_are_named_however_many_are_in_the_own_one),
		HARNESS_TEST(what_is_known_of_an_image_is_good_for_a_second),
		HARNESS_TEST(who_is_gone_lost_or_silent_is_not_named),
		HARNESS_TEST(the_same_again_changes_nothing_and_what_is_gone_goes),
		HARNESS_TEST(what_is_wrong_is_not_taken),
		HARNESS_TEST(two_complaints_make_a_bad_name_for_a_while),
	};

	return HARNESS_RUN(tests);
}
