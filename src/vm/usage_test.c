#include "vm/usage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int take(struct vm_usage *u, const char *text)
{
	json_t *json = json_loads(text, 0, NULL);
	int r = usage_take_blockstats(u, json);

	json_decref(json);
	return r;
}

static void disks_are_added_up(void **state)
{
	struct vm_usage u = {0};

	assert_int_equal(
		take(&u, "[{\"stats\":{\"rd_bytes\":1000,\"wr_bytes\":7,\"rd_operations\":2}},"
			 "{\"node-name\":\"scratch\",\"stats\":{\"rd_bytes\":1,\"wr_bytes\":"
			 "8589934592}}]"),
		0);
	assert_true(u.has_disk);
	assert_int_equal(u.disk_read_bytes, 1001);
	assert_true(u.disk_written_bytes == UINT64_C(8589934599));
	assert_int_equal(take(&u, "[]"), 0);
	assert_int_equal(u.disk_read_bytes, 0);
}

static void other_answers_are_refused(void **state)
{
	static const char *const others[] = {"{}", "[1]", "[{}]", "[{\"stats\":{\"rd_bytes\":1}}]",
		"[{\"stats\":{\"rd_bytes\":-1,\"wr_bytes\":1}}]",
		"[{\"stats\":{\"rd_bytes\":1,\"wr_bytes\":\"1\"}}]",
		"[{\"stats\":{\"rd_bytes\":1.5,\"wr_bytes\":1}}]"};
	struct vm_usage u = {0};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(take(&u, others[i]), -EPROTO);
	assert_false(u.has_disk);
	assert_int_equal(usage_take_blockstats(&u, NULL), -EPROTO);
}

static void agents_answer_is_taken(void **state)
{
	const struct statistics s = {.network_received_bytes = UINT64_C(1) << 40,
		.network_sent_bytes = 5,
		.oom_kills = 2};
	struct buffer body AUTO(buffer_done) = {0};
	struct vm_usage u = {0};
	struct reply reply = {0};

	assert_int_equal(message_encode(statistics_fields, &s, &body), 0);
	reply.body = (struct message_bytes){buffer_head(&body), (uint32_t)body.len};
	assert_int_equal(usage_take_statistics(&u, &reply), 0);
	assert_true(u.has_guest && u.network_received_bytes == UINT64_C(1) << 40);
	assert_int_equal(u.network_sent_bytes, 5);
	assert_int_equal(u.oom_kills, 2);
}

static void agent_that_fails_or_lies_says_nothing(void **state)
{
	struct vm_usage u = {0};
	struct reply failed = {.error = EIO}, strange = {.error = UINT32_MAX}, empty = {0};

	assert_int_equal(usage_take_statistics(&u, &failed), -EIO);
	assert_true(usage_take_statistics(&u, &strange) < 0);
	assert_int_equal(usage_take_statistics(&u, &empty), -EPROTO);
	assert_false(u.has_guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_are_added_up),
		cmocka_unit_test(other_answers_are_refused),
		cmocka_unit_test(agents_answer_is_taken),
		cmocka_unit_test(agent_that_fails_or_lies_says_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
