#include "controller/harness_test.h"

#define POOL                                                                                     \
	"{'vlan':7,'domain':'example.org','host_pattern':'wn-%04d','first_address':'10.1.0.10'," \
	"'size':40,'prefix':16,'gateway':'10.1.0.1','nameservers':['10.1.0.2','fd00::1'],"       \
	"'mac_prefix':'52:54:01'}"

static json_t *pool(const char *name, json_t *value)
{
	json_t *body = harness_json(POOL);

	if (name)
		json_object_set_new(body, name, value);
	return body;
}

static void a_pool_is_made_with_its_places_and_again_the_same(void **state)
{
	harness_open(state);
	assert_int_equal(harness_ask("root", "PUT /v1/pools/batch", pool(NULL, NULL)), 201);
	assert_string_equal(harness_text("host_pattern"), "wn-%04d");
	assert_int_equal(harness_number("used"), 0);
	assert_string_equal(harness_text("nameservers.1"), "fd00::1");
	assert_string_equal(harness_etag(), "1");
	assert_int_equal(harness_count("SELECT count(*) FROM place WHERE lease IS NULL"), 40);
	assert_int_equal(harness_count("SELECT count(*) FROM place WHERE number = 40 AND vlan = 7"
				       " AND name = 'wn-0040.example.org' AND address = '10.1.0.49'"
				       " AND mac = '52:54:01:00:00:28'"),
		1);
	assert_int_equal(harness_ask("root", "PUT /v1/pools/batch", pool(NULL, NULL)), 200);
	assert_string_equal(harness_etag(), "1");
	assert_int_equal(harness_count("SELECT count(*) FROM event"), 1);
	assert_int_equal(harness_ask("alice", "GET /v1/pools/batch", NULL), 200);
	assert_int_equal(harness_number("size"), 40);
}

static void a_pool_grows_and_does_not_shrink(void **state)
{
	harness_open(state);
	harness_ask("root", "PUT /v1/pools/batch", pool(NULL, NULL));
	assert_int_equal(
		harness_ask("root", "PUT /v1/pools/batch", pool("size", json_integer(1000))), 200);
	assert_string_equal(harness_etag(), "2");
	assert_int_equal(harness_count("SELECT count(*) FROM place"), 1000);
	assert_int_equal(
		harness_ask("root", "PUT /v1/pools/batch", pool("size", json_integer(999))), 409);
	assert_non_null(strstr(harness_error(), "it can only grow"));
	assert_int_equal(
		harness_ask("root", "PUT /v1/pools/batch", pool("vlan", json_integer(8))), 409);
	assert_int_equal(harness_ask_match("root", "PUT /v1/pools/batch", "1",
				 pool("size", json_integer(2000))),
		412);
	assert_int_equal(harness_ask_match("root", "PUT /v1/pools/batch", "2",
				 pool("size", json_integer(2000))),
		200);
}

static void what_is_no_pool_is_refused(void **state)
{
	static const struct {
		const char *name, *value, *reason;
	} wrong[] = {
		{"size", "1000000", "number from 1 to 65536"},
		{"size", "-1", "number from 1"},
		{"size", "9223372036854775807", "number from 1"},
		{"size", "65530", "not all of hosts"},
		{"vlan", "4095", "number from 0 to 4094"},
		{"vlan", "null", "'vlan' is missing"},
		{"host_pattern", "'%n%n%n'", "is no pattern"},
		{"domain", "'x\\'; DROP TABLE pool; --'", "no domain"},
		{"nameservers", "['host']", "not all addresses"},
		{"nameservers", "{}", "is not a list"},
		{"gateway", "'10.9.0.1'", "gateway"},
		{"mac_prefix", "'01:00:5e'", "not unicast"},
		{"prefix", "33", "number from 8 to 30"},
	};

	harness_open(state);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char text[128];
		json_t *value;

		snprintf(text, sizeof(text), "{'v':%s}", wrong[i].value);
		value = harness_json(text);
		assert_int_equal(
			harness_ask("root", "PUT /v1/pools/batch",
				pool(wrong[i].name, json_incref(json_object_get(value, "v")))),
			400);
		json_decref(value);
		if (!strstr(harness_error(), wrong[i].reason))
			fail_msg("%s: %s", wrong[i].name, harness_error());
	}
	assert_int_equal(harness_ask("root", "PUT /v1/pools/Batch", pool(NULL, NULL)), 400);
	assert_int_equal(harness_ask("root", "PUT /v1/pools/a%27b", pool(NULL, NULL)), 400);
	assert_int_equal(harness_ask("root", "PUT /v1/pools/batch", NULL), 400);
	assert_int_equal(harness_ask("alice", "PUT /v1/pools/batch", pool(NULL, NULL)), 403);
	assert_int_equal(harness_ask("node:wn1", "DELETE /v1/pools/batch", NULL), 403);
	assert_int_equal(harness_ask("nobody", "GET /v1/pools", NULL), 401);
	assert_int_equal(harness_count("SELECT count(*) FROM pool"), 0);
}

static void two_pools_share_no_place(void **state)
{
	harness_open(state);
	assert_int_equal(harness_ask("root", "PUT /v1/pools/a", pool(NULL, NULL)), 201);
	assert_int_equal(harness_ask("root", "PUT /v1/pools/b", pool(NULL, NULL)), 409);
	assert_non_null(strstr(harness_error(), "another pool has"));
	assert_int_equal(harness_count("SELECT count(*) FROM pool"), 1);
	assert_int_equal(harness_count("SELECT count(*) FROM place"), 40);
}

static void a_pool_in_use_is_not_removed(void **state)
{
	harness_open(state);
	harness_ask("root", "PUT /v1/pools/batch", pool(NULL, NULL));
	assert_int_equal(harness_ask("root", "PUT /v1/leases/00000000-0000-4000-8000-000000000001",
				 json_pack("{s:s}", "pool", "batch")),
		201);
	assert_int_equal(harness_ask("root", "DELETE /v1/pools/batch", NULL), 409);
	assert_int_equal(harness_ask("root", "GET /v1/pools", NULL), 200);
	assert_int_equal(harness_number("items.0.used"), 1);
	harness_ask("root", "DELETE /v1/leases/00000000-0000-4000-8000-000000000001", NULL);
	assert_int_equal(harness_ask("root", "DELETE /v1/pools/batch", NULL), 204);
	assert_int_equal(harness_ask("root", "DELETE /v1/pools/batch", NULL), 204);
	assert_int_equal(harness_count("SELECT count(*) FROM place"), 0);
	assert_int_equal(
		harness_count("SELECT count(*) FROM event WHERE kind = 'pool.removed'"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(a_pool_is_made_with_its_places_and_again_the_same),
		HARNESS_TEST(a_pool_grows_and_does_not_shrink),
		HARNESS_TEST(what_is_no_pool_is_refused),
		HARNESS_TEST(two_pools_share_no_place),
		HARNESS_TEST(a_pool_in_use_is_not_removed),
	};

	return HARNESS_RUN(tests);
}
