#include "site/site.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/file.h"
#include "lib/path.h"
#include "site/proof.h"
#include "site/server_test.h"

#include <cmocka.h>

static char directory[] = "/tmp/site-test.XXXXXX";
static char *ca, *certificate, *key;
static struct error err;

/* Nobody listens on it: refused at once. */
#define DEAD "https://localhost:1"

static const struct reply good[] = {{.head = "200 OK\r\n", .body = "{\"a\":1}"}, {0}};

static int setup(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(directory))
		return -1;
	server_prepare(directory);
	ca = path_format("%s/ca.pem", directory);
	certificate = path_format("%s/client.pem", directory);
	key = path_format("%s/client.key", directory);
	return 0;
}

static int teardown(void **state)
{
	free(ca);
	free(certificate);
	free(key);
	return file_remove_tree(AT_FDCWD, directory);
}

/* Opens a site of these controllers; what is not said is as in `o`. */
static struct site *open_site(struct site_options o, const char *const *controllers)
{
	struct site *s = NULL;

	err = (struct error){0};
	o.controllers = controllers;
	o.ca_file = o.ca_file ? o.ca_file : ca;
	o.timeout_ms = o.timeout_ms ? o.timeout_ms : 5000;
	if (site_open(&o, &s, &err) < 0)
		fail_msg("%s", err.text);
	return s;
}

/* One GET. Returns the status, or negative errno with `err`. */
static int get(struct site_options o, const char *const *controllers, json_t **ret)
{
	struct site *s AUTO(site_freep) = open_site(o, controllers);

	return site_call(s, "GET", "/v1/nodes", NULL, NULL, ret, NULL, &err);
}

#define OPTIONS(...)     ((struct site_options){__VA_ARGS__})
#define CONTROLLERS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_says(const char *what)
{
	if (!strstr(err.text, what))
		fail_msg("'%s' does not say '%s'", err.text, what);
}

static void an_answer_comes_with_its_etag(void **state)
{
	static const struct reply replies[] = {
		{.head = "200 OK\r\neTag:  \"17\" \r\n", .body = "{\"name\":\"n1\"}"},
		{.head = "412 Precondition Failed\r\n", .body = "{\"error\":\"it has changed\"}"},
		{.head = "204 No Content\r\n"}, {0}};
	struct server server = {.replies = replies, .certificate = SERVER_GOOD};
	json_t *answer = NULL, *body = json_pack("{s:s}", "a", "b");
	autofree char *etag = NULL;

	server_start(&server, directory);
	{
		struct site *s AUTO(site_freep) =
			open_site(OPTIONS(.patience_ms = 0), CONTROLLERS(server.address));
		int status = site_call(s, "GET", "/v1/nodes/n1", NULL, NULL, &answer, &etag, &err);

		if (status < 0)
			fail_msg("%s", err.text);
		assert_int_equal(status, 200);
		assert_string_equal(etag, "17");
		assert_string_equal(json_string_value(json_object_get(answer, "name")), "n1");
		assert_string_equal(site_controller(s), server.address);
		json_decref(answer);
		status = site_call(
			s, "PATCH", "/v1/nodes/../n1?x=%20y", body, "17", &answer, NULL, &err);
		assert_int_equal(status, 412);
		assert_string_equal(err.text, "it has changed");
		assert_non_null(
			strstr(server.request, "PATCH /v1/nodes/../n1?x=%20y HTTP/1.1\r\n"));
		assert_non_null(strstr(server.request, "\r\nIf-Match: \"17\"\r\n"));
		assert_non_null(strstr(server.request, "\r\n\r\n{\"a\":\"b\"}"));
		json_decref(answer);
		status = site_call(s, "DELETE", "/v1/nodes/n1", NULL, "*", &answer, NULL, &err);
		assert_int_equal(status, 204);
		assert_null(answer);
		assert_non_null(strstr(server.request, "\r\nIf-Match: *\r\n"));
	}
	json_decref(body);
	server_stop(&server);
}

static void what_is_known_already_is_not_sent_again(void **state)
{
	static const struct reply replies[] = {{.head = "200 OK\r\nETag: \"7\"\r\n", .body = "{}"},
		{.head = "304 Not Modified\r\nETag: \"7\"\r\n"}, {0}};
	struct server server = {.replies = replies, .certificate = SERVER_GOOD};
	json_t *answer = NULL;
	autofree char *etag = NULL;

	server_start(&server, directory);
	{
		struct site *s AUTO(site_freep) =
			open_site(OPTIONS(.patience_ms = 0), CONTROLLERS(server.address));

		assert_int_equal(site_get(s, "/v1/catalogue", NULL, &answer, &etag, &err), 200);
		assert_null(strstr(server.request, "If-None-Match"));
		assert_non_null(answer);
		json_decref(answer);
		assert_int_equal(site_get(s, "/v1/catalogue", etag, &answer, NULL, &err), 304);
		assert_null(answer);
		assert_non_null(strstr(server.request, "\r\nIf-None-Match: \"7\"\r\n"));
		/* Who has not asked for it is not told so. */
		assert_int_equal(
			site_get(s, "/v1/catalogue", NULL, &answer, NULL, &err), -ENOTCONN);
	}
	server_stop(&server);
}

static void a_dead_controller_is_left_for_the_next(void **state)
{
	struct server server = {.replies = good, .certificate = SERVER_GOOD};
	json_t *answer = NULL;

	server_start(&server, directory);
	assert_int_equal(get(OPTIONS(0), CONTROLLERS(DEAD, server.address), &answer), 200);
	json_decref(answer);
	server_stop(&server);
	assert_int_equal(
		get(OPTIONS(0), CONTROLLERS(DEAD, "unix:/nonexistent/x"), &answer), -ENOTCONN);
	assert_says("no controller answers; 'unix:/nonexistent/x': ");
}

static void one_that_hangs_is_left_for_the_next(void **state)
{
	static const struct reply hangs[] = {{.hang = true}, {0}}, closes[] = {{0}, {0}};
	struct server hanging = {.replies = hangs, .certificate = SERVER_GOOD};
	struct server closing = {.replies = closes, .certificate = SERVER_GOOD};
	struct server server = {.replies = good, .certificate = SERVER_GOOD};
	json_t *answer = NULL;

	server_start(&hanging, directory);
	server_start(&closing, directory);
	server_start(&server, directory);
	{
		struct site *s AUTO(site_freep) = open_site(OPTIONS(.timeout_ms = 3000),
			CONTROLLERS(hanging.address, closing.address, server.address));

		for (int i = 0; i < 3; i++) {
			assert_int_equal(
				site_call(s, "GET", "/x", NULL, NULL, &answer, NULL, &err), 200);
			json_decref(answer);
		}
		assert_string_equal(site_controller(s), server.address);
	}
	server_stop(&hanging);
	server_stop(&closing);
	server_stop(&server);
	/* Those that were no use were asked once, not each time. */
	assert_int_equal(hanging.requests, 1);
	assert_int_equal(server.requests, 3);
}

static void one_that_is_busy_is_asked_again_with_patience(void **state)
{
	static const struct reply busy[] = {
		{.head = "503 Service Unavailable\r\nRetry-After: 0\r\n",
			.body = "{\"error\":\"the database is not reached\"}"},
		{.head = "503 Service Unavailable\r\n", .body = "<html>"},
		{.head = "200 OK\r\n", .body = "{}"}, {0}};
	struct server server = {.replies = busy, .certificate = SERVER_GOOD};
	json_t *answer = NULL;

	server_start(&server, directory);
	assert_int_equal(get(OPTIONS(0), CONTROLLERS(server.address), &answer), -ENOTCONN);
	assert_says("the database is not reached");
	assert_int_equal(
		get(OPTIONS(.patience_ms = 10000), CONTROLLERS(server.address), &answer), 200);
	json_decref(answer);
	server_stop(&server);
	assert_int_equal(server.requests, 3);
}

static void patience_has_an_end(void **state)
{
	uint64_t start = clock_now_us();
	json_t *answer = NULL;

	assert_int_equal(
		get(OPTIONS(.patience_ms = 700), CONTROLLERS(DEAD, DEAD), &answer), -ENOTCONN);
	assert_in_range(clock_now_us() - start, 600000, 8000000);
}

static void certificates_are_checked(void **state)
{
	static const struct {
		enum server_certificate kind;
		const char *says;
	} rows[] = {
		{SERVER_EXPIRED, "expired"},
		{SERVER_OTHER_NAME, "localhost"},
		{SERVER_OTHER_CA, "unable to get local issuer certificate"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct server server = {.replies = good, .certificate = rows[i].kind};
		uint64_t start = clock_now_us();
		json_t *answer = NULL;

		server_start(&server, directory);
		/* Waiting does not help, so it is not done. */
		assert_int_equal(
			get(OPTIONS(.patience_ms = 60000), CONTROLLERS(server.address), &answer),
			-ENOTCONN);
		assert_says(rows[i].says);
		assert_in_range(clock_now_us() - start, 0, 20000000);
		server_stop(&server);
		assert_int_equal(server.requests, 0);
	}
}

static void a_node_shows_its_certificate(void **state)
{
	struct server server = {.replies = good, .certificate = SERVER_GOOD};
	json_t *answer = NULL;

	server_start(&server, directory);
	assert_int_equal(get(OPTIONS(.certificate_file = certificate, .key_file = key),
				 CONTROLLERS(server.address), &answer),
		200);
	json_decref(answer);
	assert_string_equal(server.peer, "n1");
	assert_int_equal(get(OPTIONS(.certificate_file = certificate, .key_file = "/nonexistent"),
				 CONTROLLERS(server.address), &answer),
		-ENOTCONN);
	server_stop(&server);
}

static void a_token_goes_to_servers_with_a_certificate_only(void **state)
{
	struct server server = {.replies = good, .certificate = SERVER_GOOD};
	struct server local = {.replies = good, .certificate = SERVER_PLAIN};
	json_t *answer = NULL;

	server_start(&server, directory);
	server_start(&local, directory);
	assert_int_equal(
		get(OPTIONS(.token = "wnodes_x"), CONTROLLERS(server.address), &answer), 200);
	json_decref(answer);
	assert_non_null(strstr(server.request, "\r\nAuthorization: Bearer wnodes_x\r\n"));
	assert_int_equal(
		get(OPTIONS(.token = "wnodes_x"), CONTROLLERS(local.address), &answer), 200);
	json_decref(answer);
	assert_null(strstr(local.request, "Authorization"));
	server_stop(&server);
	server_stop(&local);
}

static void what_is_no_controller_is_not_believed(void **state)
{
	static char blanks[65536], brackets[65536];
	static const struct {
		struct reply reply;
		const char *says;
	} rows[] = {
		{{"200 OK\r\n", .body = "{\"a\":"}, "no JSON object"},
		{{"200 OK\r\n", .body = "[1]"}, "no JSON object"},
		{{"200 OK\r\n", .body = "{\"a\":1,\"a\":2}"}, "no JSON object"},
		{{"404 Not Found\r\n", .body = "<html>"}, "no JSON object"},
		{{"200 OK\r\n", .body = brackets, .repeat = 5}, "no JSON object"},
		{{"200 OK\r\n", .body = blanks, .repeat = 600}, "32 MiB"},
		{{"200 OK\r\nContent-Length: 99999999999\r\n", .body = "{"}, "32 MiB"},
		{{"302 Found\r\nLocation: https://elsewhere.example/\r\n"}, "302"},
		{{"garbage\r\n", .body = "{}"}, "no controller answers"},
	};

	memset(blanks, ' ', sizeof(blanks) - 1);
	memset(brackets, '[', sizeof(brackets) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct reply replies[] = {rows[i].reply, {0}};
		struct server server = {.replies = replies, .certificate = SERVER_PLAIN};
		json_t *answer = NULL;

		server_start(&server, directory);
		assert_int_equal(
			get(OPTIONS(.timeout_ms = 20000), CONTROLLERS(server.address), &answer),
			-ENOTCONN);
		assert_says(rows[i].says);
		assert_null(answer);
		server_stop(&server);
	}
}

static void the_environment_leads_nowhere(void **state)
{
	struct server server = {.replies = good, .certificate = SERVER_GOOD};
	json_t *answer = NULL;

	server_start(&server, directory);
	setenv("https_proxy", "http://localhost:1", 1);
	setenv("ALL_PROXY", "http://localhost:1", 1);
	assert_int_equal(get(OPTIONS(0), CONTROLLERS(server.address), &answer), 200);
	json_decref(answer);
	unsetenv("https_proxy");
	unsetenv("ALL_PROXY");
	server_stop(&server);
}

static int count_item(json_t *item, void *userdata)
{
	int *sum = userdata;

	*sum += (int)json_integer_value(item);
	return *sum > 100 ? -ECANCELED : 0;
}

static void a_list_is_walked_to_its_end(void **state)
{
	static const struct reply pages[] = {
		{"200 OK\r\n", .body = "{\"items\":[1,2],\"next\":\"a b&c\"}"},
		{"200 OK\r\n", .body = "{\"items\":[3],\"next\":17}"},
		{"200 OK\r\n", .body = "{\"items\":[4],\"next\":null}"},
		{"200 OK\r\n", .body = "{\"items\":[5],\"next\":\"x\"}"}, /* for ever */
		{0}};
	struct server server = {.replies = pages, .certificate = SERVER_PLAIN};
	int sum = 0;

	server_start(&server, directory);
	{
		struct site *s AUTO(site_freep) =
			open_site(OPTIONS(0), CONTROLLERS(server.address));

		assert_int_equal(site_list(s, "/v1/x?user=a", count_item, &sum, &err), 0);
		assert_int_equal(sum, 10);
		assert_non_null(strstr(
			server.request, "GET /v1/x?user=a&limit=1000&after=17 HTTP/1.1\r\n"));
		assert_int_equal(site_list(s, "/v1/x", count_item, &sum, &err), -EREMOTEIO);
		assert_says("do not end");
		sum = 100;
		assert_int_equal(site_list(s, "/v1/x", count_item, &sum, &err), -ECANCELED);
	}
	server_stop(&server);
}

static void a_list_that_is_refused_says_why(void **state)
{
	static const struct reply refused[] = {
		{"403 Forbidden\r\n", .body = "{\"error\":\"not\\u0007 yours\",\"status\":403}"},
		{"200 OK\r\n", .body = "{\"items\":3}"}, {0}};
	struct server server = {.replies = refused, .certificate = SERVER_PLAIN};
	int sum = 0;

	server_start(&server, directory);
	{
		struct site *s AUTO(site_freep) =
			open_site(OPTIONS(0), CONTROLLERS(server.address));

		assert_int_equal(site_list(s, "/v1/x", count_item, &sum, &err), -EREMOTEIO);
		assert_string_equal(err.text, "not? yours");
		assert_int_equal(site_list(s, "/v1/x", count_item, &sum, &err), -EREMOTEIO);
	}
	server_stop(&server);
}

static void addresses_and_tokens_are_checked(void **state)
{
	static const struct {
		const char *address, *token;
	} rows[] = {
		{"http://localhost:80", NULL},
		{"localhost:8443", NULL},
		{"unix:relative", NULL},
		{"https://", NULL},
		{"https://a b", NULL},
		{"https://user:password@host", NULL},
		{"file:///etc/passwd", NULL},
		{DEAD, ""},
		{DEAD, "a\r\nX: y"},
	};
	struct site *s = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *controllers[] = {rows[i].address, NULL};
		struct site_options o = {
			.controllers = controllers, .token = rows[i].token, .timeout_ms = 1};

		assert_int_equal(site_open(&o, &s, NULL), -EINVAL);
		assert_null(s);
	}
}

static void paths_are_checked(void **state)
{
	static const char *const bad[] = {"x", "", "/a b", "/a\r\nX: y", "/a#b", "/\xc3\xa4"};
	struct site *s AUTO(site_freep) = open_site(OPTIONS(0), CONTROLLERS(DEAD));
	json_t *answer;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
			site_call(s, "GET", bad[i], NULL, NULL, &answer, NULL, &err), -EINVAL);
	assert_int_equal(site_call(s, "get", "/", NULL, NULL, &answer, NULL, &err), -EINVAL);
}

static void a_credential_is_for_one_request(void **state)
{
	autofree char *a = proof_payload("PUT", "/v1/x?a=b", "{}", 2);
	autofree char *none = proof_payload("GET", "/", NULL, 0);

	assert_string_equal(a, "PUT /v1/x?a=b "
			       "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
	assert_string_equal(
		none, "GET / e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_comes_with_its_etag),
		cmocka_unit_test(what_is_known_already_is_not_sent_again),
		cmocka_unit_test(a_dead_controller_is_left_for_the_next),
		cmocka_unit_test(one_that_hangs_is_left_for_the_next),
		cmocka_unit_test(one_that_is_busy_is_asked_again_with_patience),
		cmocka_unit_test(patience_has_an_end),
		cmocka_unit_test(certificates_are_checked),
		cmocka_unit_test(a_node_shows_its_certificate),
		cmocka_unit_test(a_token_goes_to_servers_with_a_certificate_only),
		cmocka_unit_test(what_is_no_controller_is_not_believed),
		cmocka_unit_test(the_environment_leads_nowhere),
		cmocka_unit_test(a_list_is_walked_to_its_end),
		cmocka_unit_test(a_list_that_is_refused_says_why),
		cmocka_unit_test(addresses_and_tokens_are_checked),
		cmocka_unit_test(paths_are_checked),
		cmocka_unit_test(a_credential_is_for_one_request),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
