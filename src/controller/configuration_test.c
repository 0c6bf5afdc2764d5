#include "controller/configuration.h"

#include <errno.h>

#include "controller/configuration_text.h"

#include "controller/harness_test.h"

static void expect_merged(const char *site, const char *group, const char *node, const char *joined)
{
	const char *texts[] = {site, group, node};
	autofree char *text = NULL;
	struct error err = {0};

	assert_int_equal(configuration_merge(texts, &text, &err), 0);
	assert_string_equal(text, joined);
	assert_int_equal(configuration_check(text, true, &err), 0);
}

static void the_narrowest_scope_holds(void **state)
{
	expect_merged(NULL, NULL, NULL, "");
	expect_merged("# a comment\n[run]\ncpus = 2\nmemory=1G\n\n[vm]\naccel = kvm\n", NULL, NULL,
		"[run]\ncpus = 2\nmemory=1G\n[vm]\naccel = kvm\n");
	expect_merged("[run]\ncpus = 2\nmemory = 1G\n", "[node]\nvms = 4\n[run]\ncpus : 3\n",
		"  [run]\r\n  memory = 3G\n", "[run]\ncpus : 3\nmemory = 3G\n[node]\nvms = 4\n");
	/* A list is the narrowest's as a whole. */
	expect_merged("[run]\nenv = A=1\nenv = B=2\n", "[run]\nenv = C=3\nenv = D=4\n", NULL,
		"[run]\nenv = C=3\nenv = D=4\n");
	/* A section twice in a file is one. */
	expect_merged("[run]\ncpus = 2\n[vm]\naccel = tcg\n[run]\nmemory = 1G\n", NULL, NULL,
		"[run]\ncpus = 2\nmemory = 1G\n[vm]\naccel = tcg\n");
}

static void policies_of_narrower_scopes_are_asked_first(void **state)
{
	expect_merged("[policy all]\nvm = allow\n[policy last]\nvm = forbid\n[run]\ncpus = 2\n",
		"[policy  all]\nvm = force\nimage = el9\n",
		"[policy mine]\nuser = alice\nvm = allow\n",
		"[run]\ncpus = 2\n[policy mine]\nuser = alice\nvm = allow\n"
		"[policy all]\nvm = force\nimage = el9\n[policy last]\nvm = forbid\n");
}

static void a_text_is_checked_before_it_is_taken(void **state)
{
	static const struct {
		const char *text, *reason;
		bool by_group;
	} wrong[] = {
		{"[run]\ncpu = 2\n", "line 2: unknown key 'cpu' in [run]; did you mean 'cpus'?"},
		{"[run]\ncpus = 2\ncpus = 3\n", "line 3: cpus is set a second time"},
		{"[ruin]\ncpus = 2\n", "did you mean [run]?"},
		{"cpus = 2\n", "before any section"},
		{"[run]\nhello\n", "line 2: neither [section] nor key = value"},
		{"[policy a]\nvm = maybe\n", "line 2: "},
		{"[vm]\nqemu = /tmp/evil\n", "qemu in [vm] is set by administrators", true},
		{"[vm]\nbroker = /tmp/evil\n", "broker in [vm] is set by administrators", true},
		{"[run]\ncpus = 1\n [site]\nca = /x\n", "ca in [site] is set by administrators",
			true},
		{"[node]\nuser = root\n", "user in [node] is set by administrators", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct error err = {0};

		if (configuration_check(wrong[i].text, !wrong[i].by_group, &err) != -EINVAL)
			fail_msg("%s passes", wrong[i].text);
		if (!strstr(err.text, wrong[i].reason))
			fail_msg("%s: %s", wrong[i].text, err.text);
		if (wrong[i].by_group)
			assert_int_equal(configuration_check(wrong[i].text, true, &err), 0);
	}
	/* What it names is not looked at. */
	assert_int_equal(configuration_check("[site]\nca = /no/such/file\n", true, NULL), 0);
}

static int put(const char *who, const char *scope, const char *etag, const char *text)
{
	char request[128];

	snprintf(request, sizeof(request), "PUT /v1/configuration/%s", scope);
	return harness_ask_match(who, request, etag, json_pack("{s:s}", "text", text));
}

static void a_node_gets_the_texts_of_its_scopes_joined(void **state)
{
	autofree char *before = NULL;

	harness_open(state);
	harness_add_node("wn1", "red");
	harness_ask("root", "PUT /v1/groups/red", json_object());
	assert_int_equal(harness_ask("node:wn1", "GET /v1/nodes/wn1/configuration", NULL), 200);
	assert_string_equal(harness_text("text"), "");
	before = strdup(harness_text("revision"));
	assert_int_equal(put("root", "site", NULL, "[run]\ncpus = 2\n"), 201);
	assert_int_equal(put("admin:bob:red", "group:red", NULL, "[run]\ncpus = 3\n"), 201);
	assert_int_equal(put("admin:bob:red", "node:wn1", NULL, "[run]\nmemory = 2G\n"), 201);
	assert_int_equal(harness_ask("node:wn1", "GET /v1/nodes/wn1/configuration", NULL), 200);
	assert_string_equal(harness_text("text"), "[run]\ncpus = 3\nmemory = 2G\n");
	assert_string_not_equal(harness_text("revision"), before);
	free(before);
	before = strdup(harness_text("revision"));
	assert_int_equal(
		harness_ask("node:wn1", "POST /v1/nodes/wn1/heartbeat",
			harness_json("{'boot':'00000000-0000-4000-8000-000000000001','sequence':1,"
				     "'state':'up','full':true}")),
		200);
	assert_string_equal(harness_text("configuration"), before);
	assert_int_equal(
		harness_ask("admin:bob:red", "GET /v1/nodes/wn1/configuration", NULL), 200);
	assert_int_equal(
		harness_ask("admin:bob:blue", "GET /v1/nodes/wn1/configuration", NULL), 403);
	assert_int_equal(harness_ask("node:wn2", "GET /v1/nodes/wn1/configuration", NULL), 403);
	assert_int_equal(harness_ask("root", "GET /v1/nodes/wn2/configuration", NULL), 404);
	assert_int_equal(harness_ask("alice", "GET /v1/nodes/wn1/configuration", NULL), 403);
}

static void a_change_is_made_of_what_was_read(void **state)
{
	autofree char *first = NULL;

	harness_open(state);
	assert_int_equal(put("root", "site", NULL, "[run]\ncpus = 2\n"), 201);
	first = strdup(harness_etag());
	assert_int_equal(put("root", "site", NULL, "[run]\ncpus = 2\n"), 200);
	assert_int_equal(put("root", "site", NULL, "[run]\ncpus = 3\n"), 428);
	assert_int_equal(put("root", "site", "7", "[run]\ncpus = 3\n"), 412);
	assert_int_equal(put("root", "site", first, "[run]\ncpus = 3\n"), 200);
	/* The same again, as the answer was lost. */
	assert_int_equal(put("root", "site", first, "[run]\ncpus = 3\n"), 200);
	assert_int_equal(put("root", "site", first, "[run]\ncpus = 4\n"), 412);
	assert_int_equal(harness_ask("root", "DELETE /v1/configuration/site", NULL), 428);
	assert_int_equal(
		harness_ask_match("root", "DELETE /v1/configuration/site", "*", NULL), 204);
	assert_int_equal(
		harness_ask_match("root", "DELETE /v1/configuration/site", "*", NULL), 204);
	/* A new one is not mistaken for the first. */
	assert_int_equal(put("root", "site", NULL, "[run]\ncpus = 2\n"), 201);
	assert_string_not_equal(harness_etag(), first);
}

static void only_who_administers_a_scope_changes_it(void **state)
{
	harness_open(state);
	harness_add_node("wn1", "red");
	assert_int_equal(put("admin:bob:red", "site", NULL, ""), 403);
	assert_int_equal(put("admin:bob:red", "group:blue", NULL, ""), 404);
	assert_int_equal(put("admin:bob:blue", "node:wn1", NULL, ""), 403);
	assert_int_equal(put("alice", "site", NULL, ""), 403);
	assert_int_equal(put("node:wn1", "node:wn1", NULL, ""), 403);
	assert_int_equal(put("root", "elsewhere", NULL, ""), 404);
	assert_int_equal(put("root", "node:wn2", NULL, ""), 404);
	assert_int_equal(put("admin:bob:red", "node:wn1", NULL, "[vm]\nqemu = /x\n"), 400);
	assert_int_equal(put("root", "node:wn1", NULL, "[vm]\nqemu = /x\n"), 201);
	assert_int_equal(
		harness_ask("admin:bob:blue", "GET /v1/configuration/node:wn1", NULL), 403);
	assert_int_equal(harness_ask("admin:bob:red", "GET /v1/configuration/node:wn1", NULL), 200);
	assert_int_equal(harness_ask("admin:bob:red", "GET /v1/configuration", NULL), 403);
}

static void a_host_group_in_use_is_not_removed(void **state)
{
	harness_open(state);
	assert_int_equal(harness_ask("root", "PUT /v1/groups/red",
				 json_pack("{s:s}", "description", "the red ones")),
		201);
	assert_int_equal(harness_ask("root", "PUT /v1/groups/red",
				 json_pack("{s:s}", "description", "the red ones")),
		200);
	assert_string_equal(harness_etag(), "1");
	assert_int_equal(harness_ask("root", "PUT /v1/groups/Red;", json_object()), 400);
	assert_int_equal(harness_ask("alice", "PUT /v1/groups/blue", json_object()), 403);
	harness_add_node("wn1", "red");
	assert_int_equal(harness_ask("root", "GET /v1/groups/red", NULL), 200);
	assert_int_equal(harness_number("nodes"), 1);
	assert_int_equal(harness_ask("root", "DELETE /v1/groups/red", NULL), 409);
	harness_ask("root", "DELETE /v1/nodes/wn1", NULL);
	put("root", "group:red", NULL, "[run]\ncpus = 1\n");
	assert_int_equal(harness_ask("root", "DELETE /v1/groups/red", NULL), 204);
	assert_int_equal(harness_ask("root", "DELETE /v1/groups/red", NULL), 204);
	assert_int_equal(harness_count("SELECT count(*) FROM configuration"), 0);
}

/* A text of about so many bytes that is no comment: policies with messages. */
static json_t *long_text(const char *policy, size_t size)
{
	autofree char *text = malloc(size + 1);
	size_t n = 0;

	for (int i = 0; n + 300 < size; i++) {
		int length = snprintf(
			text + n, size - n, "[policy %s%d]\nvm = forbid\nmessage = ", policy, i);

		n += (size_t)length;
		memset(text + n, 'x', 150);
		n += 150;
		text[n++] = '\n';
	}
	text[n] = 0;
	return json_pack("{s:s}", "text", text);
}

static void what_no_node_would_take_is_refused(void **state)
{
	harness_open(state);
	harness_add_node("wn1", "red");
	harness_add_node("wn2", "blue");
	harness_ask("root", "PUT /v1/groups/red", json_pack("{s:s}", "description", ""));
	harness_ask("root", "PUT /v1/groups/blue", json_pack("{s:s}", "description", ""));
	assert_int_equal(
		harness_ask("root", "PUT /v1/configuration/site", long_text("s", 30000)), 201);
	assert_int_equal(
		harness_ask("root", "PUT /v1/configuration/group:red", long_text("g", 30000)), 201);
	assert_int_equal(
		harness_ask("root", "PUT /v1/configuration/node:wn1", long_text("n", 10000)), 400);
	assert_non_null(strstr(harness_error(), "a node takes 65536"));
	assert_non_null(strstr(harness_error(), "'site' has "));
	assert_non_null(strstr(harness_error(), "'group:red' has "));
	assert_non_null(strstr(harness_error(), "'node:wn1' has "));
	/* Not with that of another's group, and not with what it takes the place of. */
	assert_int_equal(
		harness_ask("root", "PUT /v1/configuration/node:wn2", long_text("n", 10000)), 201);
	assert_int_equal(
		harness_ask("root", "PUT /v1/configuration/group:blue", long_text("b", 30000)),
		400);
	assert_non_null(strstr(harness_error(), "'node:wn2' has "));
	assert_int_equal(
		harness_ask_match("root", "PUT /v1/configuration/site", "*", long_text("s", 40000)),
		400);
	assert_int_equal(
		harness_ask_match("root", "PUT /v1/configuration/site", "*", long_text("g", 50000)),
		200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_narrowest_scope_holds),
		cmocka_unit_test(policies_of_narrower_scopes_are_asked_first),
		cmocka_unit_test(a_text_is_checked_before_it_is_taken),
		HARNESS_TEST(what_no_node_would_take_is_refused),
		HARNESS_TEST(a_node_gets_the_texts_of_its_scopes_joined),
		HARNESS_TEST(a_change_is_made_of_what_was_read),
		HARNESS_TEST(only_who_administers_a_scope_changes_it),
		HARNESS_TEST(a_host_group_in_use_is_not_removed),
	};

	return HARNESS_RUN(tests);
}
