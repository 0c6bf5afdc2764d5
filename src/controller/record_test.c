#include "controller/record.h"

#include "controller/harness_test.h"

#define ID "00000000-0000-4000-8000-0000000000"

/* A record of alice's, with one member replaced: "job.account" or "user". */
static json_t *record(const char *id, const char *path, json_t *value)
{
	json_t *r = harness_json("{'node':'wn1','job':{'system':'slurm','id':'7','account':'phys'},"
				 "'user':'alice','uid':1000,'image':{'name':'el9','tag':'1'},"
				 "'shape':{'cpus':4,'memory_bytes':4096},"
				 "'started':'2026-10-31T23:00:00Z','ended':'2026-11-01T00:00:00Z',"
				 "'usage':{'cpu_user_s':1000.5,'cpu_system_s':10}}");
	const char *dot = path ? strchr(path, '.') : NULL;
	char object[32];

	json_object_set_new(r, "id", json_string(id));
	if (dot) {
		snprintf(object, sizeof(object), "%.*s", (int)(dot - path), path);
		json_object_set_new(json_object_get(r, object), dot + 1, value);
	} else if (path) {
		json_object_set_new(r, path, value);
	}
	return r;
}

static int post(const char *who, json_t *a, json_t *b)
{
	json_t *list = json_array();

	json_array_append_new(list, a);
	if (b)
		json_array_append_new(list, b);
	return harness_ask(who, "POST /v1/records", json_pack("{s:o}", "records", list));
}

static void a_record_is_stored_once_however_often_it_comes(void **state)
{
	harness_open(state);
	harness_add_node("wn1", "red");
	assert_int_equal(
		post("node:wn1", record(ID "01", NULL, NULL), record(ID "02", NULL, NULL)), 200);
	assert_int_equal(harness_number("stored"), 2);
	assert_int_equal(
		post("node:wn1", record(ID "02", NULL, NULL), record(ID "03", NULL, NULL)), 200);
	assert_int_equal(harness_number("stored"), 1);
	assert_int_equal(harness_number("known"), 1);
	assert_int_equal(
		post("node:wn1", record(ID "04", NULL, NULL), record(ID "04", NULL, NULL)), 200);
	assert_int_equal(harness_number("stored"), 1);
	assert_int_equal(harness_count("SELECT count(*) FROM record"), 4);
	assert_int_equal(harness_count("SELECT max(sequence) FROM record"), 4);
	assert_int_equal(harness_count("SELECT records FROM job WHERE key = 'slurm.7'"), 4);
	assert_int_equal(harness_count("SELECT wall_us / 1000000 FROM record"), 3600);
	assert_int_equal(harness_count("SELECT cpu_us FROM record"), 1010500000);
	assert_int_equal(harness_count("SELECT count(*) FROM record WHERE month = '2026-11'"), 4);
}

static void one_that_is_wrong_keeps_no_other_from_being_stored(void **state)
{
	json_t *wrong[] = {
		json_integer(7),
		record("x", NULL, NULL),
		record(ID "11", "node", json_string("wn2")),
		record(ID "12", "node", json_null()),
		record(ID "13", "node", json_string("w")),
		record(ID "14", "ended", json_null()),
		record(ID "15", "ended", json_string("soon")),
		record(ID "16", "uid", json_string("root")),
		record(ID "17", "shape.cpus", json_integer(-1)),
		record(ID "18", "usage.cpu_user_s", json_real(1e13)),
	};

	harness_open(state);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char id[64];

		snprintf(id, sizeof(id), ID "%02zu", i + 50);
		assert_int_equal(post("node:wn1", wrong[i], record(id, NULL, NULL)), 200);
		assert_int_equal(harness_number("stored"), 1);
		assert_int_equal(json_array_size(harness_get("refused")), 1);
		assert_int_equal(harness_number("refused.0.index"), 0);
		assert_true(*harness_text("refused.0.error"));
	}
	assert_int_equal(harness_count("SELECT count(*) FROM record"), ARRAY_SIZE(wrong));
	assert_int_equal(harness_ask("root", "POST /v1/records", json_object()), 403);
	assert_int_equal(harness_ask("node:wn1", "POST /v1/records", json_object()), 400);
	assert_int_equal(post("node:wn1.example.org", record(ID "19", NULL, NULL), NULL), 200);
	assert_int_equal(harness_number("stored"), 1);
}

static void an_id_of_anothers_record_swallows_none(void **state)
{
	harness_open(state);
	assert_int_equal(post("node:wn1", record(ID "01", NULL, NULL), NULL), 200);
	assert_int_equal(harness_number("stored"), 1);
	assert_int_equal(post("node:wn2", record(ID "01", "node", json_string("wn2")),
				 record(ID "02", "node", json_string("wn2"))),
		200);
	assert_int_equal(harness_number("known"), 0);
	assert_int_equal(harness_number("stored"), 1);
	assert_string_equal(harness_text("refused.0.id"), ID "01");
	/* The same node, which is called by its whole name now. */
	assert_int_equal(post("node:wn1.example.org", record(ID "01", NULL, NULL), NULL), 200);
	assert_int_equal(harness_number("known"), 1);
}

static void a_node_delivers_only_its_own_whatever_it_is_called(void **state)
{
	harness_open(state);
	harness_add_node("wn1", "");
	harness_add_node("wn1.example.org", "");
	harness_add_node("wn2.example.org", "");
	/* "wn1" is another node here. */
	assert_int_equal(post("node:wn1.example.org", record(ID "01", NULL, NULL), NULL), 200);
	assert_int_equal(harness_number("stored"), 0);
	assert_non_null(strstr(harness_text("refused.0.error"), "of node 'wn1'"));
	/* "wn2" is nobody else's name, and becomes the whole one. */
	assert_int_equal(
		post("node:wn2.example.org", record(ID "02", "node", json_string("wn2")), NULL),
		200);
	assert_int_equal(harness_number("stored"), 1);
	assert_int_equal(harness_ask("root", "GET /v1/records?node=wn2.example.org", NULL), 200);
	assert_string_equal(harness_text("items.0.node"), "wn2.example.org");
	/* An id that one of them has used keeps no record of the other's from being told of. */
	assert_int_equal(post("node:wn1.example.org",
				 record(ID "03", "node", json_string("wn1.example.org")), NULL),
		200);
	assert_int_equal(harness_number("stored"), 1);
	assert_int_equal(post("node:wn1", record(ID "03", NULL, NULL), NULL), 200);
	assert_int_equal(harness_number("known"), 0);
	assert_string_equal(harness_text("refused.0.id"), ID "03");
}

static void text_and_numbers_of_any_kind_do_no_harm(void **state)
{
	char text[513];

	memset(text, 'x', sizeof(text));
	text[512] = '\0';
	harness_open(state);
	post("node:wn1", record(ID "01", "user", json_string("o'brien \xf0\x9f\x98\x80\n;--")),
		record(ID "02", "job.id", json_string(text)));
	assert_int_equal(harness_number("stored"), 2);
	post("node:wn1", record(ID "03", "job.account", json_string(text)),
		record(ID "04", "shape.cpus", json_integer(INT64_MAX)));
	assert_int_equal(harness_number("stored"), 2);
	post("node:wn1", record(ID "05", "shape.cpus", json_integer(INT64_MAX)),
		record(ID "06", "ended", json_string("9999-12-31T23:59:59Z")));
	assert_int_equal(harness_number("stored"), 2);
	post("node:wn1", record(ID "07", "usage.cpu_user_s", json_real(1e12)),
		record(ID "08", "ended", json_string("1970-01-01T00:00:01Z")));
	assert_int_equal(harness_number("stored"), 2);
	assert_int_equal(harness_ask("root", "GET /v1/records/summary?by=user,month", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 4);
}

static void records_are_listed_in_the_order_in_which_they_came(void **state)
{
	harness_open(state);
	harness_add_node("wn1", "red");
	post("node:wn1", record(ID "09", NULL, NULL), record(ID "01", "user", json_string("bob")));
	post("node:wn1", record(ID "05", "ended", json_string("2026-12-01T00:00:00Z")), NULL);
	assert_int_equal(harness_ask("root", "GET /v1/records?limit=2", NULL), 200);
	assert_string_equal(harness_text("items.0.id"), ID "09");
	assert_int_equal(harness_number("items.0.shape.cpus"), 4);
	assert_int_equal(harness_number("next"), 2);
	assert_int_equal(harness_ask("root", "GET /v1/records?limit=2&after=2", NULL), 200);
	assert_string_equal(harness_text("items.0.id"), ID "05");
	assert_true(json_is_null(harness_get("next")));
	assert_int_equal(
		harness_ask("root", "GET /v1/records?since=2026-11-01T00:00:01Z", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 1);
	assert_int_equal(
		harness_ask("root", "GET /v1/records?until=2026-12-01T00:00:00Z&user=bob,x", NULL),
		200);
	assert_int_equal(json_array_size(harness_get("items")), 1);
	assert_int_equal(
		harness_ask("root", "GET /v1/records?job=slurm.7&account=phys&image=el9:1", NULL),
		200);
	assert_int_equal(json_array_size(harness_get("items")), 3);
	assert_int_equal(harness_ask("root", "GET /v1/records?since=soon", NULL), 400);
	assert_int_equal(harness_ask("root", "GET /v1/records?colour=red", NULL), 400);
}

static void a_user_sees_his_own(void **state)
{
	harness_open(state);
	harness_add_node("wn1", "red");
	post("node:wn1", record(ID "01", NULL, NULL), record(ID "02", "user", json_string("bob")));
	assert_int_equal(harness_ask("bob", "GET /v1/records", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 1);
	assert_int_equal(harness_ask("bob", "GET /v1/records?user=alice", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 0);
	assert_int_equal(harness_ask("bob", "GET /v1/records/summary", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 1);
	assert_int_equal(harness_ask("admin:eve:red", "GET /v1/records", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 2);
	assert_int_equal(
		harness_ask("admin:eve:blue", "GET /v1/records/summary?by=user", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 0);
	assert_int_equal(harness_ask("node:wn1", "GET /v1/records", NULL), 403);
}

static void sums_are_by_what_is_asked_for(void **state)
{
	harness_open(state);
	post("node:wn1", record(ID "01", NULL, NULL), record(ID "02", "user", json_string("bob")));
	post("node:wn1", record(ID "03", NULL, NULL), record(ID "04", "job", json_null()));
	assert_int_equal(harness_ask("root", "GET /v1/records/summary", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 2);
	assert_string_equal(harness_text("items.0.user"), "alice");
	assert_string_equal(harness_text("items.0.month"), "2026-11");
	assert_int_equal(harness_number("items.0.vms"), 3);
	assert_true(json_real_value(harness_get("items.0.wall_s")) == 3 * 3600);
	assert_true(json_real_value(harness_get("items.0.core_s")) == 12 * 3600);
	assert_true(json_real_value(harness_get("items.0.cpu_s")) == 3 * 1010.5);
	assert_int_equal(
		harness_ask("root", "GET /v1/records/summary?by=account,image", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 2);
	assert_int_equal(
		harness_ask("root", "GET /v1/records/summary?by=month&user=bob", NULL), 200);
	assert_int_equal(harness_number("items.0.vms"), 1);
	assert_int_equal(
		harness_ask("root", "GET /v1/records/summary?since=2027-01-01T00:00:00Z", NULL),
		200);
	assert_int_equal(json_array_size(harness_get("items")), 0);
	assert_int_equal(harness_ask("root", "GET /v1/records/summary?by=month,month", NULL), 400);
	assert_int_equal(harness_ask("root", "GET /v1/records/summary?by=body_json", NULL), 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(a_record_is_stored_once_however_often_it_comes),
		HARNESS_TEST(one_that_is_wrong_keeps_no_other_from_being_stored),
		HARNESS_TEST(an_id_of_anothers_record_swallows_none),
		HARNESS_TEST(a_node_delivers_only_its_own_whatever_it_is_called),
		HARNESS_TEST(text_and_numbers_of_any_kind_do_no_harm),
		HARNESS_TEST(records_are_listed_in_the_order_in_which_they_came),
		HARNESS_TEST(a_user_sees_his_own),
		HARNESS_TEST(sums_are_by_what_is_asked_for),
	};

	return HARNESS_RUN(tests);
}
