#include "engine/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define ID "00000000-0000-4000-8000-000000000001"

static void what_we_write_ourselves_passes_as_it_is(void **state)
{
	struct phase_clock phases;
	struct record r = RECORD_INIT;
	struct error err = {0};
	json_t *json, *checked;

	phase_start(&phases);
	phase_enter(&phases, PHASE_FETCH);
	phase_enter(&phases, PHASE_RUN);
	phase_enter(&phases, PHASE_DONE);
	r.id = ID;
	r.job.system = "slurm";
	r.job.name = "a\nb";
	r.job.verified = true;
	r.ended_us = 1;
	r.phases = &phases;
	r.has_exit_status = true;
	r.cpu_user_us = 1500000;
	r.disk_read_bytes = UINT64_C(5) << 32;
	r.source = RECORD_BY_USER;
	json = record_to_json(&r);
	checked = record_check(json, &err);
	assert_non_null(checked);
	assert_true(json_equal(json, checked));
	json_decref(json);
	json_decref(checked);
	r.job.system = NULL;
	json = record_to_json(&r);
	checked = record_check(json, &err);
	assert_true(json_equal(json, checked));
	json_decref(json);
	json_decref(checked);
}

static json_t *check(const char *text, struct error *err)
{
	json_t *json = json_loads(text, 0, NULL), *checked;

	assert_non_null(json);
	checked = record_check(json, err);
	json_decref(json);
	return checked;
}

static void what_is_missing_is_null_and_what_is_unknown_is_dropped(void **state)
{
	struct error err = {0};
	json_t *json = check("{\"id\":\"" ID "\",\"root\":[1],\"usage\":{\"x\":1,\"cpu_user_s\":2},"
			     "\"phases\":[{\"phase\":\"run\",\"start_s\":1,\"duration_s\":2.5,"
			     "\"more\":\"x\"}]}",
		&err);
	json_t *usage = json_object_get(json, "usage");

	assert_non_null(json);
	assert_null(json_object_get(json, "root"));
	assert_null(json_object_get(usage, "x"));
	assert_true(json_number_value(json_object_get(usage, "cpu_user_s")) == 2);
	assert_true(json_is_null(json_object_get(usage, "guest_oom_kills")));
	assert_true(json_is_null(json_object_get(json, "job")));
	assert_true(json_is_null(json_object_get(json_object_get(json, "image"), "digest")));
	assert_int_equal(json_object_size(json_array_get(json_object_get(json, "phases"), 0)), 3);
	json_decref(json);
}

static void what_is_wrong_is_refused(void **state)
{
	static const char *const wrong[] = {
		"[]",
		"{\"id\":\"../../etc/passwd\"}",
		"{\"id\":7}",
		"{\"vm\":[]}",
		"{\"uid\":-1}",
		"{\"uid\":4294967296}",
		"{\"uid\":1.5}",
		"{\"exit_status\":256}",
		"{\"exit_status\":\"0\"}",
		"{\"ended\":\"yesterday\"}",
		"{\"ended\":1}",
		"{\"job\":{\"verified\":1}}",
		"{\"job\":{\"name\":{}}}",
		"{\"usage\":{\"cpu_user_s\":-0.5}}",
		"{\"usage\":{\"cpu_user_s\":1e300}}",
		"{\"usage\":{\"disk_read_bytes\":-1}}",
		"{\"phases\":{}}",
		"{\"phases\":[1]}",
		"{\"phases\":[{\"phase\":\"lunch\",\"start_s\":1,\"duration_s\":1}]}",
		"{\"phases\":[{\"phase\":\"run\",\"start_s\":-1,\"duration_s\":1}]}",
		"{\"phases\":[{\"phase\":\"run\",\"start_s\":1}]}",
		"{\"phases\":[0,0,0,0,0,0,0,0,0,0,0,0]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct error err = {0};

		if (check(wrong[i], &err) || !err.text[0])
			fail_msg("not refused: %s", wrong[i]);
	}
}

static json_t *with_text(size_t length, char c, const char *const *keys, struct error *err)
{
	autofree char *text = malloc(length + 1);
	json_t *told = json_object(), *checked;

	memset(text, c, length);
	text[length] = '\0';
	for (; *keys; keys++)
		json_object_set_new(told, *keys, json_string(text));
	checked = record_check(told, err);
	json_decref(told);
	return checked;
}

/* However much is told, there is room left in a line. */
static void texts_have_their_limits(void **state)
{
	static const char *const reason[] = {"reason", NULL};
	static const char *const many[] = {
		"vm", "node", "user", "policy", "start", "reason", "source", NULL};
	static const char *const all[] = {"vm", "node", "user", "policy", "start", "reason",
		"source", "job", "image", "shape", NULL};
	struct error err = {0};
	json_t *json = with_text(RECORD_TEXT_MAX, 'x', reason, &err);

	assert_non_null(json);
	json_decref(json);
	assert_null(with_text(RECORD_TEXT_MAX + 1, 'x', reason, &err));
	json = with_text(RECORD_TEXT_MAX, '\1', many, &err);
	assert_non_null(json);
	json_decref(json);
	/* An object that is a text has no members. */
	json = with_text(10, 'x', all, &err);
	assert_true(json_is_object(json_object_get(json, "image")));
	json_decref(json);
}

static void record_that_is_too_long_is_refused(void **state)
{
	static const char *const keys[] = {"system", "id", "step", "name", "partition", "account"};
	json_t *told = json_pack("{s:{}, s:{}, s:{}}", "job", "image", "shape"), *object;
	struct error err = {0};
	char text[RECORD_TEXT_MAX + 1];
	const char *name;

	memset(text, 1, RECORD_TEXT_MAX);
	text[RECORD_TEXT_MAX] = '\0';
	json_object_foreach(told, name, object) for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		json_object_set_new(object, keys[i], json_string(text));
	json_object_set_new(json_object_get(told, "image"), "tag", json_string(text));
	json_object_set_new(json_object_get(told, "image"), "digest", json_string(text));
	for (size_t i = 0; i < 2; i++) {
		json_object_set_new(told, i ? "vm" : "node", json_string(text));
		json_object_set_new(told, i ? "user" : "policy", json_string(text));
	}
	assert_null(record_check(told, &err));
	assert_non_null(strstr(err.text, "bytes"));
	json_decref(told);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_we_write_ourselves_passes_as_it_is),
		cmocka_unit_test(what_is_missing_is_null_and_what_is_unknown_is_dropped),
		cmocka_unit_test(what_is_wrong_is_refused),
		cmocka_unit_test(texts_have_their_limits),
		cmocka_unit_test(record_that_is_too_long_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
