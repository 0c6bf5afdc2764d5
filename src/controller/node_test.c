#include "controller/node.h"

#include "controller/event.h"
#include "controller/harness_test.h"

#define BOOT   "b0000000-0000-4000-8000-000000000001"
#define OTHER  "b0000000-0000-4000-8000-000000000002"
#define ID     "00000000-0000-4000-8000-0000000000"
#define MINUTE UINT64_C(60000000)
#define GRACE  (10 * MINUTE)

static void open_site(void **state)
{
	harness_open(state);
	harness_add_node("wn1", "red");
	harness_add_node("wn2", "");
}

/* A heartbeat of `node`, with further members as text, "'full':true". */
static int beat(const char *node, const char *boot, int sequence, const char *more)
{
	char request[128], text[4096], who[64];
	json_t *base = json_pack("{s:s, s:i, s:s, s:s}", "boot", boot, "sequence", sequence,
		"state", "up", "version", "1.2");
	json_t *body;

	snprintf(request, sizeof(request), "POST /v1/nodes/%s/heartbeat", node);
	snprintf(text, sizeof(text), "{%s}", more);
	snprintf(who, sizeof(who), "node:%s", node);
	body = harness_json(text);
	json_object_update_missing(body, base);
	json_decref(base);
	return harness_ask(who, request, body);
}

#define VM(id, user, job)                                                                  \
	"{'id':'" ID id "','name':'vm-" id "','state':'run','user':'" user "','uid':1000," \
	"'job':{'system':'slurm','id':'" job "'},'image':'el9','cpus':2,"                  \
	"'memory_bytes':4096,'started':'2026-09-21T10:00:00Z'}"

static int64_t count_events(const char *kind)
{
	char text[128];

	snprintf(text, sizeof(text), "SELECT count(*) FROM event WHERE kind = '%s'", kind);
	return harness_count(text);
}

static void a_full_heartbeat_says_all_and_others_what_has_changed(void **state)
{
	open_site(state);
	assert_int_equal(beat("wn1", BOOT, 1, ""), 200);
	assert_true(json_is_true(harness_get("full")));
	assert_int_equal(harness_count("SELECT count(*) FROM node WHERE state = 'joined'"), 2);
	assert_int_equal(
		beat("wn1", BOOT, 2,
			"'full':true,'status':{'load':[1,2]},'vms':[" VM("01", "alice", "7") "," VM(
				"02", "alice", "7") "," VM("03", "bob", "8") "]"),
		200);
	assert_true(json_is_false(harness_get("full")));
	assert_int_equal(harness_number("interval_s"), 30);
	assert_int_equal(harness_number("leases_kept_s"), 690);
	assert_int_equal(harness_ask("alice", "GET /v1/vms", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 2);
	assert_string_equal(harness_text("items.0.job"), "slurm.7");
	assert_string_equal(harness_text("items.0.started"), "2026-09-21T10:00:00.000000Z");
	assert_int_equal(harness_ask("alice", "GET /v1/jobs/slurm.7", NULL), 200);
	assert_int_equal(harness_number("vms"), 2);
	assert_int_equal(harness_ask("alice", "GET /v1/nodes/wn1", NULL), 200);
	assert_int_equal(harness_number("vms"), 3);
	assert_string_equal(harness_text("state"), "up");
	assert_int_equal(harness_number("status.load.1"), 2);
	assert_int_equal(
		beat("wn1", BOOT, 3,
			"'gone':['" ID "01','" ID "99',null],'vms':[" VM("04", "bob", "8") "]"),
		200);
	assert_int_equal(harness_count("SELECT vms FROM job WHERE key = 'slurm.7'"), 1);
	assert_int_equal(harness_count("SELECT vms FROM job WHERE key = 'slurm.8'"), 2);
	assert_int_equal(harness_count("SELECT vms FROM node WHERE name = 'wn1'"), 3);
	/* All that there are: the others are forgotten. */
	assert_int_equal(beat("wn1", BOOT, 4, "'full':true,'vms':[" VM("04", "bob", "8") "]"), 200);
	assert_int_equal(harness_count("SELECT count(*) FROM vm"), 1);
	assert_int_equal(harness_count("SELECT vms FROM job WHERE key = 'slurm.7'"), 0);
	assert_int_equal(count_events("node.up"), 1);
}

static void without_news_only_the_time_changes(void **state)
{
	open_site(state);
	beat("wn1", BOOT, 1, "'full':true");
	harness_now_us += MINUTE;
	assert_int_equal(beat("wn1", BOOT, 2, "'configuration':'abc'"), 200);
	assert_int_equal(harness_count("SELECT seen - state_since FROM node WHERE name = 'wn1'") /
				 (int64_t)MINUTE,
		1);
	assert_int_equal(harness_count("SELECT count(*) FROM node WHERE config_seen = 'abc' AND"
				       " sequence = 2"),
		1);
	assert_int_equal(harness_count("SELECT count(*) FROM event"), 1);
	harness_ask("alice", "GET /v1/nodes/wn1", NULL);
	assert_string_equal(harness_etag(), "1");
}

static void a_heartbeat_that_is_late_changes_nothing(void **state)
{
	open_site(state);
	beat("wn1", BOOT, 1, "'full':true,'vms':[" VM("01", "alice", "7") "]");
	beat("wn1", BOOT, 3, "'gone':['" ID "01']");
	assert_int_equal(beat("wn1", BOOT, 2, "'vms':[" VM("01", "alice", "7") "]"), 200);
	assert_int_equal(harness_count("SELECT count(*) FROM vm"), 0);
	assert_int_equal(beat("wn1", BOOT, 2, ""), 200);
	assert_int_equal(harness_count("SELECT sequence FROM node WHERE name = 'wn1'"), 3);
	/* The same again, whose answer was lost, is taken again. */
	assert_int_equal(beat("wn1", BOOT, 3, "'gone':['" ID "01']"), 200);
	/* Another life begins with all that there is. */
	assert_int_equal(beat("wn1", OTHER, 1, "'vms':[" VM("02", "alice", "7") "]"), 200);
	assert_true(json_is_true(harness_get("full")));
	assert_int_equal(harness_count("SELECT count(*) FROM vm"), 0);
	assert_int_equal(
		beat("wn1", OTHER, 2, "'full':true,'vms':[" VM("02", "alice", "7") "]"), 200);
	assert_int_equal(harness_count("SELECT count(*) FROM vm"), 1);
}

static void a_node_that_lies_of_anothers_vm_is_refused_that_vm(void **state)
{
	open_site(state);
	beat("wn1", BOOT, 1, "'full':true,'vms':[" VM("01", "alice", "7") "]");
	assert_int_equal(beat("wn2", OTHER, 1,
				 "'full':true,'vms':[" VM("01", "eve", "9") "," VM("02", "bob",
					 "8") ",{'id':'x'},{'id':'" ID "03','state':'run'},7]"),
		200);
	assert_int_equal(json_array_size(harness_get("refused")), 4);
	assert_string_equal(harness_text("refused.0.id"), ID "01");
	assert_string_equal(harness_text("refused.0.error"), "this VM is another node's");
	assert_int_equal(harness_count("SELECT count(*) FROM vm WHERE id = '" ID
				       "01' AND node = 'wn1' AND username = 'alice'"),
		1);
	assert_int_equal(harness_count("SELECT count(*) FROM vm WHERE node = 'wn2'"), 1);
	assert_int_equal(harness_count("SELECT count(*) FROM job WHERE key = 'slurm.9'"), 0);
	assert_int_equal(count_events("node.refused"), 1);
	beat("wn2", OTHER, 2, "'gone':['" ID "01']");
	assert_int_equal(harness_count("SELECT count(*) FROM vm"), 2);
	/* Whose a job is does not change by what another says. */
	beat("wn2", OTHER, 3, "'vms':[" VM("04", "eve", "7") "]");
	assert_int_equal(
		harness_count(
			"SELECT count(*) FROM job WHERE key = 'slurm.7' AND username = 'alice'"),
		1);
}

static void a_node_speaks_for_itself(void **state)
{
	json_t *body = harness_json("{'boot':'" BOOT "','sequence':1,'state':'up'}");

	open_site(state);
	assert_int_equal(
		harness_ask("node:wn1", "POST /v1/nodes/wn2/heartbeat", json_incref(body)), 403);
	assert_int_equal(
		harness_ask("root", "POST /v1/nodes/wn2/heartbeat", json_incref(body)), 403);
	assert_int_equal(
		harness_ask("nobody", "POST /v1/nodes/wn2/heartbeat", json_incref(body)), 401);
	assert_int_equal(beat("wn3", BOOT, 1, "'full':true"), 404);
	assert_non_null(strstr(harness_error(), "have it join again"));
	json_decref(body);
}

static void what_is_no_heartbeat_is_refused(void **state)
{
	static const char *const wrong[] = {
		"'state':'lost'",
		"'state':'up','vms':{}",
		"'state':'up','sequence':-1",
		"'state':'up','status':'x'",
		"'state':'up','autonomous_since':'yesterday'",
		"'state':'up','cpus':99999999999999",
		"'state':'up','reason':7",
		("'state':'up','configuration':'"
		 "01234567890123456789012345678901234567890123456789012345678901234567890'"),
	};

	open_site(state);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (beat("wn1", BOOT, 1, wrong[i]) != 400)
			fail_msg("%s: %d", wrong[i], (int)harness_number("status"));
	assert_int_equal(beat("wn1", "x", 1, ""), 400);
	assert_int_equal(harness_count("SELECT count(*) FROM node WHERE state = 'joined'"), 2);
}

static void text_of_any_kind_is_kept_as_it_is(void **state)
{
	open_site(state);
	assert_int_equal(
		harness_ask("node:wn1", "POST /v1/nodes/wn1/heartbeat",
			json_pack("{s:s, s:i, s:b, s:s, s:s, s:[{s:s, s:s, s:s, s:s}]}", "boot",
				BOOT, "sequence", 1, "full", 1, "state", "drained", "reason",
				"it's \"\xe2\x9c\x97\" --;\n%s", "vms", "id", ID "01", "state",
				"r'u\"n", "user", "o'brien", "image", "\xf0\x9f\x98\x80")),
		200);
	assert_int_equal(harness_ask("o'brien", "GET /v1/vms?user=o%27brien", NULL), 200);
	assert_string_equal(harness_text("items.0.image"), "\xf0\x9f\x98\x80");
	assert_int_equal(harness_number("items.0.uid"), -1);
	harness_ask("alice", "GET /v1/nodes?state=drained", NULL);
	assert_string_equal(harness_text("items.0.reason"), "it's \"\xe2\x9c\x97\" --; %s");
}

static void a_long_reason_costs_no_heartbeat(void **state)
{
	char more[512], reason[320];

	memset(reason, 'x', sizeof(reason));
	reason[sizeof(reason) - 1] = '\0';
	snprintf(more, sizeof(more), "'full':true,'state':'drained','reason':'%s'", reason);
	open_site(state);
	assert_int_equal(beat("wn1", BOOT, 1, more), 200);
	assert_int_equal(harness_ask("alice", "GET /v1/nodes/wn1", NULL), 200);
	assert_string_equal(harness_text("reason"), reason);
}

static int sweep_at(uint64_t now_us, uint64_t heard_us)
{
	const struct node_sweep s = {now_us, heard_us, MINUTE, GRACE};
	struct error err = {0};
	int r;

	assert_int_equal(sql_begin(harness_db, &err), 0);
	r = node_sweep(harness_db, &s, &err);
	if (r < 0)
		fail_msg("%s", err.text);
	assert_int_equal(sql_commit(harness_db, &err), 0);
	return r;
}

static void a_silent_node_is_lost_and_its_leases_returned_after_a_grace(void **state)
{
	open_site(state);
	harness_ask("root", "PUT /v1/pools/p",
		harness_json("{'vlan':0,'host_pattern':'w%04d','first_address':'10.0.0.1',"
			     "'size':9,'prefix':24,'mac_prefix':'52:54:01'}"));
	beat("wn1", BOOT, 1, "'full':true,'vms':[" VM("01", "alice", "7") "]");
	harness_ask("node:wn1", "PUT /v1/leases/" ID "01", json_pack("{s:s}", "pool", "p"));
	/* Who could not be heard is not lost. */
	sweep_at(harness_now_us + 2 * MINUTE, harness_now_us + 2 * MINUTE);
	assert_int_equal(count_events("node.lost"), 0);
	sweep_at(harness_now_us + 2 * MINUTE, 0);
	sweep_at(harness_now_us + 2 * MINUTE + 1, 0);
	assert_int_equal(count_events("node.lost"), 1);
	assert_int_equal(harness_count("SELECT count(*) FROM vm WHERE state = 'unknown'"), 1);
	sweep_at(harness_now_us + 11 * MINUTE, 0);
	assert_int_equal(harness_count("SELECT count(*) FROM lease"), 1);
	/* Controllers that have just begun may not have heard yet that it is back. */
	sweep_at(harness_now_us + 13 * MINUTE, harness_now_us + 13 * MINUTE);
	assert_int_equal(harness_count("SELECT count(*) FROM lease"), 1);
	sweep_at(harness_now_us + 13 * MINUTE, 0);
	sweep_at(harness_now_us + 13 * MINUTE, 0);
	assert_int_equal(harness_count("SELECT count(*) FROM lease"), 0);
	assert_int_equal(count_events("lease.returned"), 1);
	/* It comes back by saying all that it has. */
	harness_now_us += 20 * MINUTE;
	assert_int_equal(beat("wn1", BOOT, 2, ""), 200);
	assert_true(json_is_true(harness_get("full")));
	assert_int_equal(beat("wn1", BOOT, 3,
				 "'full':true,'vms':[" VM("01", "alice", "7") "],'leases':['" ID
									      "01','" ID "02']"),
		200);
	assert_string_equal(harness_text("leases_unknown.0"), ID "01");
	assert_int_equal(harness_count("SELECT count(*) FROM vm WHERE state = 'run'"), 1);
	assert_int_equal(count_events("node.up"), 2);
	/* A node that only joined is not missed. */
	assert_int_equal(harness_count("SELECT count(*) FROM node WHERE state = 'joined'"), 1);
}

static void leases_that_a_node_does_not_list_are_told(void **state)
{
	open_site(state);
	assert_int_equal(
		harness_ask("root", "PUT /v1/pools/p",
			harness_json("{'vlan':1,'host_pattern':'h%02d','prefix':24,"
				     "'first_address':'10.0.0.1','size':4,'gateway':'10.0.0.254',"
				     "'nameservers':[],'mac_prefix':'52:54:01'}")),
		201);
	for (int i = 1; i <= 3; i++) {
		char request[128];

		snprintf(request, sizeof(request), "PUT /v1/leases/" ID "0%d", i);
		assert_int_equal(
			harness_ask("node:wn1", request, json_pack("{s:s}", "pool", "p")), 201);
	}
	assert_int_equal(beat("wn1", BOOT, 1, "'full':true"), 200);
	assert_int_equal(json_array_size(harness_get("leases_unlisted")), 0);
	assert_int_equal(beat("wn1", BOOT, 2, "'leases':['" ID "01','" ID "03','" ID "01']"), 200);
	assert_int_equal(json_array_size(harness_get("leases_unknown")), 0);
	assert_int_equal(json_array_size(harness_get("leases_unlisted")), 1);
	assert_string_equal(harness_text("leases_unlisted.0"), ID "02");
	/* It is the node's to say. */
	assert_int_equal(harness_count("SELECT count(*) FROM lease"), 3);
	assert_int_equal(harness_ask("node:wn1", "POST /v1/leases/batch",
				 harness_json("{'take':['" ID "02']}")),
		200);
	assert_int_equal(beat("wn1", BOOT, 3, "'leases':['" ID "01','" ID "03']"), 200);
	assert_int_equal(json_array_size(harness_get("leases_unlisted")), 0);
}

static void a_sweep_is_bounded(void **state)
{
	struct error err = {0};
	char name[16];

	open_site(state);
	assert_int_equal(sql_begin(harness_db, &err), 0);
	for (int i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "n%03d", i);
		node_add(harness_db, name, "", harness_now_us, &err);
	}
	sql_change(harness_db, &err, "UPDATE node SET state = 'up', seen = 1");
	assert_int_equal(sql_commit(harness_db, &err), 0);
	assert_int_equal(sweep_at(harness_now_us, 0), 1);
	assert_int_equal(count_events("node.lost"), 100);
	assert_int_equal(sweep_at(harness_now_us, 0), 0);
	assert_int_equal(count_events("node.lost"), 152);
}

static void tokens_are_forgotten_long_after_their_end(void **state)
{
	struct error err = {0};
	char id[16];

	open_site(state);
	assert_int_equal(sql_begin(harness_db, &err), 0);
	for (int day = 0; day < 60; day++) {
		snprintf(id, sizeof(id), "t%02d", day);
		sql_change(harness_db, &err,
			"INSERT INTO token (id, hash, kind, name, hostgroup, roles, created_by,"
			" created, expires, used) VALUES (?1, ?1, 'bearer', 'a', '', '', 'a', 0, ?2, 0)",
			sql_text(id), sql_number((int64_t)(harness_now_us - day * 1440 * MINUTE)));
	}
	assert_int_equal(sql_commit(harness_db, &err), 0);
	assert_int_equal(sweep_at(harness_now_us, 0), 0);
	assert_in_range(harness_count("SELECT count(*) FROM token"), 31, 33);
	assert_int_equal(harness_count("SELECT count(*) FROM token WHERE id = 't01'"), 1);
}

static void people_say_where_a_node_belongs_and_whether_it_is_drained(void **state)
{
	open_site(state);
	beat("wn1", BOOT, 1, "'full':true");
	assert_int_equal(
		harness_ask("root", "PATCH /v1/nodes/wn1", json_pack("{s:b}", "drained", 1)), 428);
	assert_int_equal(harness_ask_match("admin:bob:red", "PATCH /v1/nodes/wn1", "1",
				 json_pack("{s:b, s:s}", "drained", 1, "reason", "disk")),
		200);
	assert_string_equal(harness_etag(), "2");
	assert_true(json_is_true(harness_get("wanted_drained")));
	beat("wn1", BOOT, 2, "");
	assert_true(json_is_true(harness_get("drained")));
	assert_string_equal(harness_text("reason"), "disk");
	beat("wn1", BOOT, 3, "'state':'drained','reason':'disk'");
	assert_int_equal(count_events("node.drained"), 1);
	assert_int_equal(harness_ask_match("root", "PATCH /v1/nodes/wn1", "1",
				 json_pack("{s:b}", "drained", 0)),
		412);
	assert_int_equal(harness_ask_match(
				 "root", "PATCH /v1/nodes/wn1", "2", json_pack("{s:n}", "drained")),
		200);
	assert_true(json_is_null(harness_get("wanted_drained")));
	assert_int_equal(harness_ask_match("admin:bob:blue", "PATCH /v1/nodes/wn1", "*",
				 json_pack("{s:b}", "drained", 1)),
		403);
	assert_int_equal(harness_ask_match("admin:bob:red", "PATCH /v1/nodes/wn1", "*",
				 json_pack("{s:s}", "hostgroup", "blue")),
		403);
	assert_int_equal(harness_ask_match("root", "PATCH /v1/nodes/wn1", "*",
				 json_pack("{s:s}", "hostgroup", "blue")),
		404);
	assert_int_equal(harness_ask("root", "PUT /v1/groups/blue", json_object()), 201);
	assert_int_equal(harness_ask_match("root", "PATCH /v1/nodes/wn1", "3",
				 json_pack("{s:s}", "hostgroup", "blue")),
		200);
	assert_string_equal(harness_text("hostgroup"), "blue");
	assert_int_equal(harness_ask_match("root", "PATCH /v1/nodes/wn9", "*",
				 json_pack("{s:b}", "drained", 1)),
		404);
	assert_int_equal(harness_ask("alice", "PATCH /v1/nodes/wn1", json_object()), 403);
}

static void with_a_node_goes_what_is_its(void **state)
{
	struct error err = {0};

	open_site(state);
	beat("wn1", BOOT, 1, "'full':true,'vms':[" VM("01", "alice", "7") "]");
	assert_int_equal(sql_begin(harness_db, &err), 0);
	sql_change(harness_db, &err,
		"INSERT INTO certificate (serial, node, issued, not_after, revoked, reason)"
		" VALUES ('a', 'wn1', 1, 2, 0, '')");
	assert_int_equal(sql_commit(harness_db, &err), 0);
	assert_int_equal(harness_ask("admin:bob:blue", "DELETE /v1/nodes/wn1", NULL), 403);
	assert_int_equal(harness_ask("node:wn1", "DELETE /v1/nodes/wn1", NULL), 403);
	assert_int_equal(harness_ask("admin:bob:red", "DELETE /v1/nodes/wn1", NULL), 204);
	assert_int_equal(harness_ask("admin:bob:red", "DELETE /v1/nodes/wn1", NULL), 204);
	assert_int_equal(harness_count("SELECT count(*) FROM vm"), 0);
	assert_int_equal(harness_count("SELECT vms FROM job"), 0);
	assert_int_equal(harness_count("SELECT count(*) FROM certificate WHERE revoked > 0"), 1);
	assert_int_equal(count_events("node.removed"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(a_full_heartbeat_says_all_and_others_what_has_changed),
		HARNESS_TEST(without_news_only_the_time_changes),
		HARNESS_TEST(a_heartbeat_that_is_late_changes_nothing),
		HARNESS_TEST(a_node_that_lies_of_anothers_vm_is_refused_that_vm),
		HARNESS_TEST(a_node_speaks_for_itself),
		HARNESS_TEST(what_is_no_heartbeat_is_refused),
		HARNESS_TEST(text_of_any_kind_is_kept_as_it_is),
		HARNESS_TEST(a_long_reason_costs_no_heartbeat),
		HARNESS_TEST(a_silent_node_is_lost_and_its_leases_returned_after_a_grace),
		HARNESS_TEST(leases_that_a_node_does_not_list_are_told),
		HARNESS_TEST(a_sweep_is_bounded),
		HARNESS_TEST(tokens_are_forgotten_long_after_their_end),
		HARNESS_TEST(people_say_where_a_node_belongs_and_whether_it_is_drained),
		HARNESS_TEST(with_a_node_goes_what_is_its),
	};

	return HARNESS_RUN(tests);
}
