#include "controller/route.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "controller/openapi.h"
#include "controller/target.h"

static const struct listing_column columns[] = {
	{"name", "thing.name", LISTING_TEXT, true, "Its name"},
	{NULL},
};
static const struct listing listing = {
	.noun = "odd thing", .table = "thing", .columns = columns, .revision = "revision"};
static const struct field body[] = {{"size", FIELD_NUMBER, 0, 0, 7}, {NULL}};
static const struct route_query queries[] = {
	{"since", "From when on", QUERY_TIME},
	{"count", "How many", QUERY_NUMBER},
	{NULL},
};
static const struct route things[] = {
	{"GET", "/v1/things", ROUTE_READ, ROLE_USER, "Lists things", .listing = &listing,
		.queries = queries},
	{"GET", "/v1/things/{name}", ROUTE_READ, ROLE_USER, "Shows one", .listing = &listing,
		.one = true},
	{"PUT", "/v1/things/{name}", ROUTE_WRITE, ROLE_ADMINISTRATOR | ROLE_NODE, "Makes one",
		.body = body, .listing = &listing, .one = true, .matches = true},
	{"POST", "/v1/things/{name}/parts/{part}", ROUTE_WRITE, ROLE_ANYONE, "Adds", .body = body},
	{"GET", "/v1/other", ROUTE_READ, ROLE_NODE, "Another", .queries = queries},
	{NULL},
};
const struct route *const route_tables[] = {things, openapi_routes, NULL};

static int find(struct exchange *x, const char *method, const char *path)
{
	const char *allow = NULL;
	int status;

	exchange_done(x);
	status = route_find(x, method, path, &allow);
	assert_true(status == 0 ? x->route != NULL : x->answer != NULL);
	return status;
}

static void routes_are_found_with_what_their_path_names(void **state)
{
	struct exchange x = {0};

	assert_int_equal(find(&x, "GET", "/v1/things"), 0);
	assert_ptr_equal(x.route, &things[0]);
	assert_int_equal(find(&x, "HEAD", "/v1/things/a"), 0);
	assert_ptr_equal(x.route, &things[1]);
	assert_string_equal(x.params[0], "a");
	assert_int_equal(find(&x, "POST", "/v1/things/a%2Fb%20c/parts/%C3%A9+"), 0);
	assert_string_equal(x.params[0], "a/b c");
	assert_string_equal(x.params[1], "\xc3\xa9+");
	exchange_done(&x);
}

static void what_is_not_there_is_not_found(void **state)
{
	static const char *const wrong[] = {"", "/", "//", "*", "v1/things", "/v1", "/v1/",
		"/v1/thing", "/v1/things/", "/v1/things/a/", "/v1//things", "/V1/things",
		"/v1/things/a/parts", "/v1/things//parts/x", "/v1/things/a/parts/",
		"/%76%31/things", "/1/2/3/4/5/6/7/8/9/10/11/12", "http://x/v1/things"};
	struct exchange x = {0};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (find(&x, "GET", wrong[i]) != 404)
			fail_msg("found: %s", wrong[i]);
	exchange_done(&x);
}

/* Sanitizers see who looks at the path of the request before. */
static void what_is_no_path_is_compared_with_nothing(void **state)
{
	static const char *const wrong[] = {"v1/things", "/v1/t/3/4/5/6/7/8/9/10"};
	struct exchange x = {0};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char *path = strdup("/v1/things/a/parts/b");

		assert_non_null(path);
		assert_int_equal(find(&x, "POST", path), 0);
		free(path);
		assert_int_equal(find(&x, "GET", wrong[i]), 404);
	}
	exchange_done(&x);
}

static void a_path_that_is_badly_encoded_is_refused(void **state)
{
	char longest[400] = "/v1/things/";
	struct exchange x = {0};

	assert_int_equal(find(&x, "GET", "/v1/things/%"), 400);
	assert_int_equal(find(&x, "GET", "/v1/things/%2"), 400);
	assert_int_equal(find(&x, "GET", "/v1/things/%zz"), 400);
	assert_int_equal(find(&x, "GET", "/v1/things/a%00b"), 400);
	assert_int_equal(find(&x, "GET", "/v1/things/a%0Ab"), 400);
	assert_int_equal(find(&x, "GET", "/v1/things/%ff"), 400);
	memset(longest + strlen(longest), 'x', 300);
	assert_int_equal(find(&x, "GET", longest), 404);
	exchange_done(&x);
}

static void a_wrong_method_is_told_the_right_ones(void **state)
{
	struct exchange x = {0};
	const char *allow = NULL;

	assert_int_equal(route_find(&x, "DELETE", "/v1/things/a", &allow), 405);
	assert_string_equal(allow, "GET, HEAD, PUT");
	exchange_done(&x);
}

static int check(unsigned int roles, enum caller_kind kind, const struct route *route)
{
	struct exchange x = {.route = route, .caller = {.kind = kind, .roles = roles}};
	int status = route_check_caller(&x);

	exchange_done(&x);
	return status;
}

static void who_may_not_is_refused(void **state)
{
	assert_int_equal(check(0, CALLER_NOBODY, &things[0]), 401);
	assert_int_equal(check(0, CALLER_NOBODY, &things[3]), 0);
	assert_int_equal(check(ROLE_USER, CALLER_USER, &things[0]), 0);
	assert_int_equal(check(ROLE_NODE, CALLER_NODE, &things[0]), 403);
	assert_int_equal(check(ROLE_USER, CALLER_USER, &things[2]), 403);
	assert_int_equal(check(ROLE_USER | ROLE_ADMINISTRATOR, CALLER_USER, &things[2]), 0);
	assert_int_equal(check(ROLE_NODE, CALLER_NODE, &things[2]), 0);
}

static int query(const char *text, const struct route *route)
{
	struct exchange x = {.route = route};
	struct error err = {0};
	int status = target_parse_query(text, &x.query, &err) < 0 ? 400 : route_check_query(&x);

	exchange_done(&x);
	return status;
}

static void a_query_is_what_the_route_knows(void **state)
{
	const struct route *other = &things[4];

	assert_int_equal(query(NULL, other), 0);
	assert_int_equal(query("", other), 0);
	assert_int_equal(query("since=2026-11-21T17%3A51:00Z&count=7&", other), 0);
	assert_int_equal(query("since=now", other), 400);
	assert_int_equal(query("count=-1", other), 400);
	assert_int_equal(query("counts=1", other), 400);
	assert_int_equal(query("count=1&count=1", other), 400);
	assert_int_equal(query("count=%", other), 400);
}

static void all_of_it_is_published(void **state)
{
	json_t *document = openapi_new(), *put;

	assert_non_null(document);
	put = json_object_get(
		json_object_get(json_object_get(document, "paths"), "/v1/things/{name}"), "put");
	assert_string_equal(
		json_string_value(json_object_get(put, "operationId")), "put_things_name");
	assert_int_equal(json_array_size(json_object_get(put, "parameters")), 2);
	assert_non_null(json_object_get(
		json_object_get(json_object_get(document, "components"), "schemas"), "OddThing"));
	json_decref(document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes_are_found_with_what_their_path_names),
		cmocka_unit_test(what_is_not_there_is_not_found),
		cmocka_unit_test(what_is_no_path_is_compared_with_nothing),
		cmocka_unit_test(a_path_that_is_badly_encoded_is_refused),
		cmocka_unit_test(a_wrong_method_is_told_the_right_ones),
		cmocka_unit_test(who_may_not_is_refused),
		cmocka_unit_test(a_query_is_what_the_route_knows),
		cmocka_unit_test(all_of_it_is_published),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
