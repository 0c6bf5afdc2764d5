#include "controller/lease.h"

#include "controller/harness_test.h"

#define ID "00000000-0000-4000-8000-0000000000"
#define VM "11111111-0000-4000-8000-0000000000"
#define POOL                                                                                   \
	"{'vlan':7,'host_pattern':'wn-%02d','first_address':'10.1.0.10','size':3,'prefix':24," \
	"'gateway':'10.1.0.1','nameservers':['10.1.0.2'],'mac_prefix':'52:54:01'}"

static void open_site(void **state)
{
	harness_open(state);
	harness_add_node("wn1", "red");
	harness_add_node("wn2", "blue");
	assert_int_equal(harness_ask("root", "PUT /v1/pools/batch", harness_json(POOL)), 201);
}

static int give(const char *who, const char *id)
{
	char request[128];

	snprintf(request, sizeof(request), "PUT /v1/leases/%s", id);
	return harness_ask(who, request, json_pack("{s:s}", "pool", "batch"));
}

static int take(const char *who, const char *id)
{
	char request[128];

	snprintf(request, sizeof(request), "DELETE /v1/leases/%s", id);
	return harness_ask(who, request, NULL);
}

/* What the tables must always agree on. */
static void check_tables(int64_t leases)
{
	assert_int_equal(harness_count("SELECT count(*) FROM lease"), leases);
	assert_int_equal(
		harness_count("SELECT count(*) FROM place WHERE lease IS NOT NULL"), leases);
	assert_int_equal(harness_count("SELECT count(*) FROM lease JOIN place ON place.lease ="
				       " lease.id AND place.mac = lease.mac AND place.name ="
				       " lease.name AND place.address = lease.address AND"
				       " place.pool = lease.pool AND place.number = lease.number"),
		leases);
}

static void a_lease_is_given_once_however_often_it_is_asked_for(void **state)
{
	open_site(state);
	assert_int_equal(give("node:wn1", ID "01"), 201);
	assert_string_equal(harness_text("name"), "wn-01");
	assert_string_equal(harness_text("address"), "10.1.0.10");
	assert_string_equal(harness_text("mac"), "52:54:01:00:00:01");
	assert_string_equal(harness_text("gateway"), "10.1.0.1");
	assert_string_equal(harness_text("nameservers.0"), "10.1.0.2");
	assert_int_equal(harness_number("prefix"), 24);
	assert_string_equal(harness_text("node"), "wn1");
	assert_true(json_is_null(harness_get("vm")));
	assert_int_equal(give("node:wn1", ID "01"), 200);
	assert_string_equal(harness_text("name"), "wn-01");
	check_tables(1);
	assert_int_equal(take("node:wn1", ID "01"), 204);
	assert_int_equal(take("node:wn1", ID "01"), 204);
	check_tables(0);
	assert_int_equal(harness_count("SELECT count(*) FROM event WHERE kind = 'lease.given'"), 1);
	assert_int_equal(
		harness_count("SELECT count(*) FROM event WHERE kind = 'lease.returned'"), 1);
}

static void places_that_were_given_back_first_are_lent_first(void **state)
{
	open_site(state);
	give("node:wn1", ID "01");
	give("node:wn1", ID "02");
	take("node:wn1", ID "02");
	take("node:wn1", ID "01");
	give("node:wn1", ID "03");
	assert_string_equal(harness_text("name"), "wn-03");
	give("node:wn1", ID "04");
	assert_string_equal(harness_text("name"), "wn-02");
	give("node:wn1", ID "05");
	assert_string_equal(harness_text("name"), "wn-01");
	check_tables(3);
}

static void an_exhausted_pool_says_so(void **state)
{
	open_site(state);
	give("node:wn1", ID "01");
	give("node:wn2", ID "02");
	give("root", ID "03");
	assert_int_equal(give("node:wn1", ID "04"), 409);
	assert_non_null(strstr(harness_error(), "pool 'batch' is exhausted: all of its 3 places"));
	assert_int_equal(give("node:wn1", ID "01"), 200);
	take("root", ID "03");
	assert_int_equal(give("node:wn1", ID "04"), 201);
	check_tables(3);
	assert_int_equal(harness_ask("node:wn1", "PUT /v1/leases/" ID "05",
				 json_pack("{s:s}", "pool", "other")),
		404);
	assert_non_null(strstr(harness_error(), "there is no pool 'other'"));
}

static void a_node_has_its_own_leases_only(void **state)
{
	open_site(state);
	give("node:wn1", ID "01");
	assert_int_equal(give("node:wn2", ID "01"), 409);
	assert_non_null(strstr(harness_error(), "is held by another"));
	assert_int_equal(take("node:wn2", ID "01"), 403);
	assert_int_equal(harness_ask("node:wn2", "PUT /v1/leases/" ID "02",
				 json_pack("{s:s, s:s}", "pool", "batch", "node", "wn1")),
		403);
	assert_int_equal(give("node:wn9", ID "02"), 404);
	assert_int_equal(harness_ask("node:wn2", "GET /v1/leases/" ID "01", NULL), 404);
	assert_int_equal(harness_ask("node:wn2", "GET /v1/leases", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 0);
	assert_int_equal(harness_ask("node:wn1", "GET /v1/leases", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 1);
	assert_int_equal(take("alice", ID "01"), 403);
	assert_int_equal(give("alice", ID "02"), 403);
	assert_int_equal(take("admin:bob:blue", ID "01"), 403);
	check_tables(1);
	assert_int_equal(take("admin:bob:red", ID "01"), 204);
	check_tables(0);
}

static void what_a_lease_is_used_for_is_noted(void **state)
{
	open_site(state);
	give("node:wn1", ID "01");
	assert_int_equal(harness_ask("node:wn1", "PUT /v1/leases/" ID "01",
				 json_pack("{s:s, s:s, s:s, s:s}", "pool", "batch", "vm", VM "01",
					 "job", "slurm.47", "user", "alice")),
		200);
	assert_string_equal(harness_text("vm"), VM "01");
	assert_string_equal(harness_text("user"), "alice");
	assert_string_equal(harness_etag(), "2");
	assert_int_equal(harness_ask("alice", "GET /v1/leases?job=slurm.47,slurm.48", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 1);
	assert_int_equal(harness_ask("bob", "GET /v1/leases", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 0);
	assert_int_equal(harness_ask("admin:eve:red", "GET /v1/leases/" ID "01", NULL), 200);
	assert_int_equal(harness_ask("admin:eve:blue", "GET /v1/leases/" ID "01", NULL), 404);
	/* What is not said stays, what is said to be nothing goes. */
	assert_int_equal(harness_ask("node:wn1", "PUT /v1/leases/" ID "01",
				 json_pack("{s:s, s:s}", "pool", "batch", "vm", "")),
		200);
	assert_true(json_is_null(harness_get("vm")));
	assert_string_equal(harness_text("user"), "alice");
	check_tables(1);
}

static void what_is_no_lease_is_refused(void **state)
{
	open_site(state);
	assert_int_equal(give("node:wn1", "x"), 400);
	assert_int_equal(give("node:wn1", ID "01x"), 400);
	assert_int_equal(give("node:wn1", "..%2F" ID "01"), 400);
	assert_int_equal(harness_ask("node:wn1", "PUT /v1/leases/" ID "01",
				 json_pack("{s:s, s:s}", "pool", "batch", "vm", "x'y")),
		400);
	assert_int_equal(harness_ask("node:wn1", "PUT /v1/leases/" ID "01", json_object()), 400);
	assert_int_equal(harness_ask("root", "PUT /v1/leases/" ID "01",
				 json_pack("{s:s, s:s}", "pool", "batch", "node", "a'; --")),
		404);
	assert_int_equal(harness_ask("root", "GET /v1/leases?pool=%27%20OR%201=1", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 0);
	check_tables(0);
}

static void a_block_is_taken_and_given_in_one_go(void **state)
{
	open_site(state);
	give("node:wn2", ID "01");
	assert_int_equal(
		harness_ask("node:wn1", "POST /v1/leases/batch",
			harness_json(
				"{'give':[{'id':'" ID "02','pool':'batch'},"
				"{'id':'" ID "03','pool':'batch','user':'alice'},"
				"{'id':'" ID "04','pool':'batch'},{'id':'" ID "05','pool':'x'},"
				"{'id':'" ID "01','pool':'batch'},{'pool':'batch'},7],"
				"'take':['" ID "01','" ID "09',null,'x']}")),
		200);
	assert_int_equal(json_array_size(harness_get("given")), 2);
	assert_string_equal(harness_text("given.1.id"), ID "03");
	assert_int_equal(harness_number("taken"), 0);
	assert_int_equal(json_array_size(harness_get("refused")), 8);
	assert_int_equal(harness_number("refused.0.status"), 403);
	check_tables(3);
	assert_int_equal(
		harness_ask("node:wn1", "POST /v1/leases/batch",
			harness_json("{'take':['" ID "02'],'give':[{'id':'" ID "06',"
				     "'pool':'batch'},{'id':'" ID "03','pool':'batch'}]}")),
		200);
	assert_int_equal(harness_number("taken"), 1);
	assert_int_equal(json_array_size(harness_get("given")), 2);
	check_tables(3);
	assert_int_equal(harness_ask("root", "POST /v1/leases/batch", json_object()), 403);
	assert_int_equal(harness_ask("node:wn1", "POST /v1/leases/batch", json_object()), 200);
}

static void the_leases_of_a_node_are_returned_in_bounded_steps(void **state)
{
	struct error err = {0};

	open_site(state);
	give("node:wn1", ID "01");
	give("node:wn1", ID "02");
	give("node:wn2", ID "03");
	assert_int_equal(sql_begin(harness_db, &err), 0);
	assert_int_equal(
		lease_return_of_node(harness_db, harness_now_us, "wn1", 1, "controller", "x", &err),
		1);
	assert_int_equal(
		lease_return_of_node(harness_db, harness_now_us, "wn1", 5, "controller", "x", &err),
		1);
	assert_int_equal(
		lease_return_of_node(harness_db, harness_now_us, "wn1", 5, "controller", "x", &err),
		0);
	assert_int_equal(sql_commit(harness_db, &err), 0);
	check_tables(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(a_lease_is_given_once_however_often_it_is_asked_for),
		HARNESS_TEST(places_that_were_given_back_first_are_lent_first),
		HARNESS_TEST(an_exhausted_pool_says_so),
		HARNESS_TEST(a_node_has_its_own_leases_only),
		HARNESS_TEST(what_a_lease_is_used_for_is_noted),
		HARNESS_TEST(what_is_no_lease_is_refused),
		HARNESS_TEST(a_block_is_taken_and_given_in_one_go),
		HARNESS_TEST(the_leases_of_a_node_are_returned_in_bounded_steps),
	};

	return HARNESS_RUN(tests);
}
