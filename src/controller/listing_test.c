#include "controller/listing.h"

#include "controller/harness_test.h"

static void open_nodes(void **state, int count)
{
	char name[16];

	harness_open(state);
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "wn%04d", i);
		harness_add_node(name, i % 2 ? "odd" : "even");
	}
}

static size_t count_items(const char *request)
{
	char text[256];

	snprintf(text, sizeof(text), "GET %s", request);
	if (harness_ask("alice", text, NULL) != 200)
		fail_msg("%s: %s", request, harness_error());
	return json_array_size(harness_get("items"));
}

static void pages_go_by_the_key_and_end(void **state)
{
	char request[64] = "/v1/nodes?limit=40";
	size_t total = 0, pages = 0;

	open_nodes(state, 250);
	assert_int_equal(count_items("/v1/nodes"), 100);
	do {
		total += count_items(request);
		snprintf(request, sizeof(request), "/v1/nodes?limit=40&after=%s",
			harness_text("next"));
		pages++;
	} while (!json_is_null(harness_get("next")));
	assert_int_equal(total, 250);
	assert_int_equal(pages, 7);
	assert_int_equal(count_items("/v1/nodes?limit=50&after=wn0199"), 50);
	assert_true(json_is_null(harness_get("next")));
	assert_int_equal(count_items("/v1/nodes?after=zzz"), 0);
}

static void filters_hold_all_of_them_and_one_of_a_list(void **state)
{
	open_nodes(state, 20);
	assert_int_equal(count_items("/v1/nodes?hostgroup=odd"), 10);
	assert_int_equal(count_items("/v1/nodes?hostgroup=odd&state=joined"), 10);
	assert_int_equal(count_items("/v1/nodes?hostgroup=odd&state=up"), 0);
	assert_int_equal(count_items("/v1/nodes?name=wn0001,wn0002,x"), 2);
	assert_int_equal(count_items("/v1/nodes?name=wn0001,wn0002&hostgroup=even"), 1);
	assert_int_equal(count_items("/v1/nodes?name=x%27)%20OR%20(%271%27=%271"), 0);
	assert_int_equal(count_items("/v1/nodes?name="), 0);
}

static void what_is_no_filter_is_refused_with_those_that_there_are(void **state)
{
	static const struct {
		const char *request, *reason;
	} wrong[] = {
		{"GET /v1/nodes?colour=red", "there are limit, after, name, hostgroup, state"},
		{"GET /v1/nodes?limit=0", "number from 1 to 1000"},
		{"GET /v1/nodes?limit=1001", "number from 1 to 1000"},
		{"GET /v1/nodes?limit=99999999999999999999", "number from 1 to 1000"},
		{"GET /v1/vms?uid=alice", "'uid'"},
		{"GET /v1/vms?uid=1,,2", "'uid'"},
		{"GET /v1/nodes/wn0001?name=x", "name"},
	};

	open_nodes(state, 2);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(harness_ask("alice", wrong[i].request, NULL), 400);
		if (!strstr(harness_error(), wrong[i].reason))
			fail_msg("%s: %s", wrong[i].request, harness_error());
	}
}

static void a_list_of_very_many_values_is_refused(void **state)
{
	char request[1024] = "GET /v1/nodes?name=0";

	open_nodes(state, 1);
	for (int i = 1; i < 51; i++)
		sprintf(request + strlen(request), ",%d", i);
	assert_int_equal(harness_ask("alice", request, NULL), 400);
	assert_non_null(strstr(harness_error(), "more than 50 values"));
	*strrchr(request, ',') = '\0';
	assert_int_equal(harness_ask("alice", request, NULL), 200);
}

static void what_is_not_there_is_told_by_its_name(void **state)
{
	open_nodes(state, 1);
	assert_int_equal(harness_ask("alice", "GET /v1/nodes/wn0000", NULL), 200);
	assert_string_equal(harness_etag(), "1");
	assert_int_equal(harness_ask("alice", "GET /v1/nodes/it%27s", NULL), 404);
	assert_non_null(strstr(harness_error(), "there is no node 'it's'"));
}

static void the_schema_has_every_column(void **state)
{
	static const struct listing_column columns[] = {
		{"name", "a", LISTING_TEXT, true, "Its name"},
		{"at", "b", LISTING_TIME, false, "When"},
		{"any", "c", LISTING_JSON, false, "Any"},
		{.name = NULL},
	};
	const struct listing l = {.noun = "thing", .table = "t", .columns = columns};
	json_t *schema = listing_to_schema(&l), *p = json_object_get(schema, "properties");

	assert_int_equal(json_object_size(p), 3);
	assert_string_equal(json_string_value(json_object_get(json_object_get(p, "at"), "format")),
		"date-time");
	assert_null(json_object_get(json_object_get(p, "any"), "type"));
	json_decref(schema);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(pages_go_by_the_key_and_end),
		HARNESS_TEST(filters_hold_all_of_them_and_one_of_a_list),
		HARNESS_TEST(what_is_no_filter_is_refused_with_those_that_there_are),
		HARNESS_TEST(a_list_of_very_many_values_is_refused),
		HARNESS_TEST(what_is_not_there_is_told_by_its_name),
		cmocka_unit_test(the_schema_has_every_column),
	};

	return HARNESS_RUN(tests);
}
