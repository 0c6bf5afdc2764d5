#include "hypervisor/witness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/record.h"
#include "lib/timestamp.h"

#define ID     "00000000-0000-4000-8000-000000000001"
#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LENT   UINT64_C(1795283460000000) /* 17:51:00 */
#define SECOND UINT64_C(1000000)

static json_t *known_of(const char *job, bool own_image)
{
	struct peer peer = {.uid = 1000, .gid = 100, .pid = 7};
	struct call lent = {.op = CALL_OPEN, .image = "el9:1", .cpus = 2, .memory_mib = 512};
	const struct witness w = {.record_id = ID,
		.node = "n17",
		.peer = &peer,
		.lent = &lent,
		.own_image = own_image,
		.digest = DIGEST,
		.lent_us = LENT};
	json_t *known;

	snprintf(peer.job, sizeof(peer.job), "%s", job);
	known = witness_new(&w);
	assert_non_null(known);
	return known;
}

static json_t *told_of(const char *job, const char *started, const char *ended)
{
	json_t *json = json_pack("{s:s, s:s, s:i, s:s, s:{s:s, s:s, s:s, s:b}, s:{s:s, s:s}, "
				 "s:{s:i}, s:s, s:s, s:s, s:i}",
		"id", "00000000-0000-4000-8000-00000000000f", "user", "root", "uid", 0, "node",
		"other", "job", "system", "slurm", "id", job, "account", "physics", "verified", 1,
		"image", "name", "mine", "digest", "none", "shape", "cpus", 99, "started", started,
		"ended", ended, "source", "node", "exit_status", 3);
	struct error err = {0};
	json_t *told = record_check(json, &err);

	json_decref(json);
	assert_non_null(told);
	return told;
}

static const char *text(json_t *json, const char *object, const char *key)
{
	return json_string_value(
		json_object_get(object ? json_object_get(json, object) : json, key));
}

static bool verified(json_t *json)
{
	return json_is_true(json_object_get(json_object_get(json, "job"), "verified"));
}

static void daemon_knows_better(void **state)
{
	json_t *known = known_of("123.batch", false);
	json_t *told = told_of("123", "2026-11-21T17:50:00Z", "2026-11-21T17:52:00Z");

	witness_correct(told, known, LENT + 600 * SECOND);
	assert_string_equal(text(told, NULL, "id"), ID);
	assert_string_equal(text(told, NULL, "node"), "n17");
	assert_int_equal(json_integer_value(json_object_get(told, "uid")), 1000);
	assert_true(json_is_null(json_object_get(told, "user"))); /* named when it is written */
	assert_string_equal(text(told, "image", "name"), "el9");
	assert_string_equal(text(told, "image", "tag"), "1");
	assert_string_equal(text(told, "image", "digest"), DIGEST);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(told, "shape"), "cpus")), 2);
	assert_string_equal(text(told, NULL, "source"), RECORD_BY_BOTH);
	assert_string_equal(text(told, NULL, "started"), "2026-11-21T17:50:00.000000Z");
	assert_string_equal(text(told, NULL, "ended"), "2026-11-21T17:52:00.000000Z");
	/* What only the program knows stays. */
	assert_int_equal(json_integer_value(json_object_get(told, "exit_status")), 3);
	json_decref(told);
	json_decref(known);
}

static void job_is_the_kernels_word(void **state)
{
	static const struct {
		const char *known, *told, *id, *step, *account;
		bool verified;
	} rows[] = {
		{"123.batch", "123", "123", "batch", "physics", true},
		{"123", "123", "123", NULL, "physics", true},
		/* An environment of another job says nothing of this one. */
		{"123.0", "7", "123", "0", NULL, true},
		{"", "7", "7", NULL, "physics", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *known = known_of(rows[i].known, false);
		json_t *told =
			told_of(rows[i].told, "2026-11-21T17:50:00Z", "2026-11-21T17:52:00Z");
		const char *step, *account;

		witness_correct(told, known, LENT + 600 * SECOND);
		step = text(told, "job", "step");
		account = text(told, "job", "account");
		assert_string_equal(text(told, "job", "id"), rows[i].id);
		assert_true(rows[i].step ? streq(step, rows[i].step) : !step);
		assert_true(rows[i].account ? streq(account, rows[i].account) : !account);
		assert_int_equal(verified(told), rows[i].verified);
		json_decref(told);
		json_decref(known);
	}
}

static void image_of_the_users_own_is_the_users_word(void **state)
{
	json_t *known = known_of("", true);
	json_t *told = told_of("7", "2026-11-21T17:50:00Z", "2026-11-21T17:52:00Z");

	witness_correct(told, known, LENT + 600 * SECOND);
	assert_string_equal(text(told, "image", "name"), "mine");
	json_decref(told);
	json_decref(known);
}

/* Not before it was lent, not after it was told. */
static void times_are_kept_within_what_is_known(void **state)
{
	json_t *known = known_of("", false);
	json_t *told = told_of("7", "2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z");

	witness_correct(told, known, LENT + 2 * SECOND);
	assert_string_equal(text(told, NULL, "started"), "2026-11-21T17:51:00.000000Z");
	assert_string_equal(text(told, NULL, "ended"), "2026-11-21T17:51:02.000000Z");
	json_decref(told);
	told = told_of("7", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z");
	witness_correct(told, known, LENT + 2 * SECOND);
	assert_string_equal(text(told, NULL, "ended"), "2026-11-21T17:51:00.000000Z");
	json_decref(told);
	json_decref(known);
}

static void stranger_is_who_owns_the_file(void **state)
{
	json_t *told = told_of("7", "2026-11-21T17:50:00Z", "2026-11-21T17:52:00Z");

	witness_correct_stranger(told, "n17", 1000, 100, LENT);
	assert_int_equal(json_integer_value(json_object_get(told, "uid")), 1000);
	assert_string_equal(text(told, NULL, "node"), "n17");
	assert_true(json_is_null(json_object_get(told, "user")));
	assert_string_equal(text(told, NULL, "source"), RECORD_BY_SPOOL);
	assert_false(verified(told));
	assert_string_equal(text(told, NULL, "ended"), "2026-11-21T17:51:00.000000Z");
	json_decref(told);
}

static void daemon_alone_tells_what_it_has_seen(void **state)
{
	json_t *known = known_of("123.0", false), *record;
	struct witness_usage usage = {0};
	struct error err = {0};

	witness_look(getpid(), &usage);
	assert_true(usage.known && usage.peak_bytes > 100000);
	usage.user_us = 1500000;
	record = witness_alone(known, &usage, LENT + SECOND, "killed");
	assert_string_equal(text(record, NULL, "reason"), "killed");
	assert_string_equal(text(record, NULL, "ended"), "2026-11-21T17:51:01.000000Z");
	assert_true(verified(record));
	assert_true(json_is_null(json_object_get(record, "exit_status")));
	assert_true(json_real_value(json_object_get(
			    json_object_get(record, "usage"), "cpu_user_s")) == 1.5);
	json_decref(record_check(record, &err));
	assert_int_equal(err.code, 0);
	json_decref(record);
	/* A process that is gone leaves what was seen before. */
	witness_look(INT32_MAX, &usage);
	assert_int_equal(usage.user_us, 1500000);
	/* Nothing was seen. */
	record = witness_alone(known, NULL, LENT, "killed");
	assert_true(json_is_null(json_object_get(json_object_get(record, "usage"), "cpu_user_s")));
	json_decref(record);
	json_decref(known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(daemon_knows_better),
		cmocka_unit_test(job_is_the_kernels_word),
		cmocka_unit_test(image_of_the_users_own_is_the_users_word),
		cmocka_unit_test(times_are_kept_within_what_is_known),
		cmocka_unit_test(stranger_is_who_owns_the_file),
		cmocka_unit_test(daemon_alone_tells_what_it_has_seen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
