#include "engine/probe.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Fills a result from an agent's answer with these file systems. */
static int fill(const char **filesystems, struct probe_result *ret)
{
	const struct probe probe = {
		.filesystems = filesystems, .os_name = "Debian GNU/Linux 12 (bookworm)"};
	struct buffer body AUTO(buffer_done) = {0};
	struct reply reply = {.error = 0};

	assert_int_equal(message_encode(probe_fields, &probe, &body), 0);
	reply.body = (struct message_bytes){buffer_head(&body), (uint32_t)body.len};
	return probe_fill(&reply, ret);
}

static void only_what_gateways_use_is_kept_and_once(void **state)
{
	const char *filesystems[] = {"ext4", "9p", "proc", "fuse", "9p", "nfs4", "virtiofs", NULL};
	struct probe_result result AUTO(probe_done) = {0};

	assert_int_equal(fill(filesystems, &result), 0);
	assert_int_equal(result.filesystems.count, 4);
	assert_string_equal(result.filesystems.items[0], "9p");
	assert_string_equal(result.filesystems.items[1], "fuse");
	assert_string_equal(result.os, "Debian GNU/Linux 12 (bookworm)");
}

static void guest_without_any_gateway_is_told_as_such(void **state)
{
	const char *filesystems[] = {NULL};
	struct probe_result result AUTO(probe_done) = {0};

	assert_int_equal(fill(filesystems, &result), 0);
	assert_int_equal(result.filesystems.count, 0);
}

static void refusal_is_an_error_whatever_its_number(void **state)
{
	static const uint32_t errors[] = {
		1, ENOSYS, 4095, 4096, INT32_MAX, 0x80000000u, UINT32_MAX};
	struct probe_result result AUTO(probe_done) = {0};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		const struct reply reply = {.error = errors[i], .reason = ""};

		assert_true(probe_fill(&reply, &result) < 0);
	}
}

static void unreadable_answer_is_an_error(void **state)
{
	const struct reply reply = {.reason = "", .body = {(const uint8_t *)"\xff\xff\xff\xff", 4}};
	struct probe_result result AUTO(probe_done) = {0};

	assert_int_equal(probe_fill(&reply, &result), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_gateways_use_is_kept_and_once),
		cmocka_unit_test(guest_without_any_gateway_is_told_as_such),
		cmocka_unit_test(refusal_is_an_error_whatever_its_number),
		cmocka_unit_test(unreadable_answer_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
