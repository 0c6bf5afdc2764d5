#include "controller/event.h"

#include "controller/harness_test.h"

static void add(const char *kind, const char *user)
{
	struct error err = {0};

	assert_int_equal(sql_begin(harness_db, &err), 0);
	assert_int_equal(event_add(harness_db, harness_now_us, kind, "thing:1", "controller",
				 user ? json_pack("{s:s}", "user", user) : NULL, &err),
		0);
	assert_int_equal(sql_commit(harness_db, &err), 0);
}

static int read_events(
	const char *name, unsigned int roles, const char *kinds, int64_t *sequence, int limit)
{
	struct caller caller = {.kind = CALLER_USER, .roles = roles | ROLE_USER};
	struct error err = {0};
	json_t *items = NULL;
	int r;

	snprintf(caller.name, sizeof(caller.name), "%s", name);
	r = event_read(harness_db, &caller, kinds, sequence, limit, &items, &err);
	if (r < 0)
		fail_msg("%s", err.text);
	assert_int_equal(json_array_size(items), r);
	json_decref(items);
	return r;
}

static void events_are_numbered_and_paged_by_that(void **state)
{
	harness_open(state);
	for (int i = 0; i < 5; i++)
		add("node.lost", NULL);
	assert_int_equal(harness_ask("root", "GET /v1/events?limit=2", NULL), 200);
	assert_int_equal(harness_number("items.0.sequence"), 1);
	assert_int_equal(harness_number("next"), 2);
	assert_int_equal(harness_ask("root", "GET /v1/events?limit=2&after=4", NULL), 200);
	assert_int_equal(harness_number("items.0.sequence"), 5);
	assert_true(json_is_null(harness_get("next")));
	assert_int_equal(harness_ask("root", "GET /v1/events?after=x", NULL), 400);
}

static void who_sees_which(void **state)
{
	harness_open(state);
	add("lease.given", "alice");
	add("lease.given", "bob");
	add("pool.made", NULL);
	add("node.lost", NULL);
	assert_int_equal(harness_ask("root", "GET /v1/events", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 4);
	assert_int_equal(harness_ask("alice", "GET /v1/events", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 2);
	assert_int_equal(harness_ask("alice", "GET /v1/events?kind=lease.given,x", NULL), 200);
	assert_int_equal(json_array_size(harness_get("items")), 1);
	assert_int_equal(harness_ask("nobody", "GET /v1/events", NULL), 401);
}

static void who_follows_misses_none_and_sees_none_twice(void **state)
{
	int64_t sequence = 0;

	harness_open(state);
	for (int i = 0; i < 7; i++)
		add(i % 2 ? "node.up" : "lease.given", "alice");
	assert_int_equal(read_events("x", ROLE_ADMINISTRATOR, NULL, &sequence, 5), 5);
	assert_int_equal(sequence, 5);
	assert_int_equal(read_events("x", ROLE_ADMINISTRATOR, NULL, &sequence, 5), 2);
	assert_int_equal(read_events("x", ROLE_ADMINISTRATOR, NULL, &sequence, 5), 0);
	assert_int_equal(sequence, 7);
	/* What one may not see is passed over for good. */
	sequence = 0;
	assert_int_equal(read_events("bob", 0, "node.up", &sequence, 5), 3);
	assert_int_equal(sequence, 7);
	add("node.up", NULL);
	assert_int_equal(read_events("bob", 0, "node.up", &sequence, 5), 1);
	assert_int_equal(sequence, 8);
}

static void old_events_are_forgotten_but_never_the_newest(void **state)
{
	struct error err = {0};

	harness_open(state);
	for (int i = 0; i < 3; i++)
		add("node.up", NULL);
	harness_now_us += 1000;
	add("node.up", NULL);
	assert_int_equal(sql_begin(harness_db, &err), 0);
	assert_int_equal(event_prune(harness_db, harness_now_us, &err), 3);
	assert_int_equal(event_prune(harness_db, harness_now_us + 1000, &err), 0);
	assert_int_equal(sql_commit(harness_db, &err), 0);
	add("node.up", NULL);
	assert_int_equal(harness_count("SELECT max(sequence) FROM event"), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(events_are_numbered_and_paged_by_that),
		HARNESS_TEST(who_sees_which),
		HARNESS_TEST(who_follows_misses_none_and_sees_none_twice),
		HARNESS_TEST(old_events_are_forgotten_but_never_the_newest),
	};

	return HARNESS_RUN(tests);
}
