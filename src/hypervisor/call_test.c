#include "hypervisor/call.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int parse(const char *text, struct call *ret)
{
	json_t *json = json_loads(text, 0, NULL);
	struct error err = {0};
	int r;

	assert_non_null(json);
	r = call_parse(json, ret, &err);
	json_decref(json);
	assert_true(r == 0 || (r == -EINVAL && err.text[0]));
	return r;
}

static void request_to_open_a_vm(void **state)
{
	struct call call;

	assert_int_equal(parse("{\"op\":\"open\",\"image\":\"el9:1\",\"cpus\":2,\"memory_mib\":512,"
			       "\"scratch_bytes\":1073741824,\"newer\":[1]}",
				 &call),
		0);
	assert_int_equal(call.op, CALL_OPEN);
	assert_string_equal(call.image, "el9:1");
	assert_int_equal(call.cpus, 2);
	assert_int_equal(call.memory_mib, 512);
	assert_int_equal(call.scratch_bytes, 1073741824);
	assert_false(call.no_wait);
	assert_int_equal(parse("{\"op\":\"open\",\"image\":\"x\",\"cpus\":1,\"memory_mib\":1,"
			       "\"wait\":false}",
				 &call),
		0);
	assert_true(call.no_wait);
	assert_false(call.root_lvm);
	assert_int_equal(parse("{\"op\":\"open\",\"image\":\"x\",\"cpus\":1,\"memory_mib\":1,"
			       "\"root_lvm\":true}",
				 &call),
		0);
	assert_true(call.root_lvm);
	assert_int_equal(call.given_fds[0], -1);
	assert_int_equal(call.given_fds[1], -1);
}

static void reason_is_one_harmless_line(void **state)
{
	struct call call;

	assert_int_equal(parse("{\"op\":\"failed\",\"reason\":\"a\\nb\\u001b[2J\"}", &call), 0);
	assert_string_equal(call.reason, "a b?[2J");
}

static void request_of_a_vms_record(void **state)
{
	struct error err = {0};
	struct call call;
	json_t *json = json_loads("{\"op\":\"record\",\"record\":{\"id\":1}}", 0, NULL);

	assert_int_equal(call_parse(json, &call, &err), 0);
	assert_int_equal(call.op, CALL_RECORD);
	assert_int_equal(json_integer_value(json_object_get(call.record, "id")), 1);
	json_decref(json);
	assert_int_equal(parse("{\"op\":\"vm\",\"pid\":17}", &call), 0);
	assert_int_equal(call.op, CALL_VM);
	assert_int_equal(call.pid, 17);
	assert_int_equal(parse("{\"op\":\"hold\",\"image\":\"x\",\"digest\":\"" HEX
			       "\",\"cpus\":1,\"memory_mib\":1,\"pid\":9,\"record_id\":"
			       "\"00000000-0000-4000-8000-000000000001\"}",
				 &call),
		0);
	assert_string_equal(call.record_id, "00000000-0000-4000-8000-000000000001");
}

static void wrong_requests_are_refused(void **state)
{
	static const char *const wrong[] = {
		"{}",
		"{\"op\":\"close\"}",
		"{\"op\":7}",
		"{\"op\":\"open\"}",
		"{\"op\":\"open\",\"image\":\"x\",\"cpus\":0,\"memory_mib\":1}",
		"{\"op\":\"open\",\"image\":\"x\",\"cpus\":-1,\"memory_mib\":1}",
		"{\"op\":\"open\",\"image\":\"x\",\"cpus\":1.5,\"memory_mib\":1}",
		"{\"op\":\"open\",\"image\":\"x\",\"cpus\":\"1\",\"memory_mib\":1}",
		"{\"op\":\"open\",\"image\":\"x\",\"cpus\":1,\"memory_mib\":9223372036854775807}",
		"{\"op\":\"open\",\"image\":\"\",\"cpus\":1,\"memory_mib\":1}",
		"{\"op\":\"open\",\"image\":[],\"cpus\":1,\"memory_mib\":1}",
		"{\"op\":\"open\",\"image\":\"x\",\"cpus\":1,\"memory_mib\":1,\"own\":1}",
		"{\"op\":\"open\",\"image\":\"x\",\"cpus\":1,\"memory_mib\":1,\"own\":true}",
		"{\"op\":\"template\"}",
		"{\"op\":\"template\",\"key\":\"../../etc\"}",
		"{\"op\":\"template\",\"key\":\"0123456789ABCDEF\"}",
		"{\"op\":\"template\",\"key\":\"" HEX "0\"}",
		"{\"op\":\"wish\",\"accel\":\"none\",\"network\":\"user\",\"cpus\":1,\"memory_mib\":1}",
		"{\"op\":\"wish\",\"accel\":\"\",\"network\":\"user\",\"cpus\":1,\"memory_mib\":1}",
		"{\"op\":\"wish\",\"accel\":\"kvm|tcg\",\"network\":\"user\",\"cpus\":1,\"memory_mib\":1}",
		"{\"op\":\"wish\",\"accel\":\"tcg\",\"network\":\"user\",\"cpus\":1,\"memory_mib\":1,"
		"\"slots\":25}",
		"{\"op\":\"hold\",\"image\":\"x\",\"digest\":\"" HEX
		"\",\"cpus\":1,\"memory_mib\":1}",
		"{\"op\":\"hold\",\"image\":\"x\",\"digest\":\"" HEX
		"\",\"cpus\":1,\"memory_mib\":1,\"pid\":0}",
		"{\"op\":\"failed\"}",
		"{\"op\":\"drain\"}",
		"{\"op\":\"vm\"}",
		"{\"op\":\"vm\",\"pid\":-1}",
		"{\"op\":\"record\"}",
		"{\"op\":\"record\",\"record\":\"x\"}",
		"{\"op\":\"record\",\"record\":[]}",
		"{\"op\":\"hold\",\"image\":\"x\",\"digest\":\"" HEX
		"\",\"cpus\":1,\"memory_mib\":1,\"pid\":9,\"record_id\":\"../x\"}",
		"{\"op\":\"drain\",\"reason\":null}",
	};
	struct call call;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (parse(wrong[i], &call) != -EINVAL)
			fail_msg("not refused: %s", wrong[i]);
}

static void texts_have_their_limits(void **state)
{
	char text[512], name[300];
	struct call call;

	memset(name, 'x', sizeof(name));
	name[CALL_IMAGE_MAX - 1] = '\0';
	snprintf(text, sizeof(text),
		"{\"op\":\"open\",\"image\":\"%s\",\"cpus\":1,\"memory_mib\":1}", name);
	assert_int_equal(parse(text, &call), 0);
	name[CALL_IMAGE_MAX - 1] = 'x';
	name[CALL_IMAGE_MAX] = '\0';
	snprintf(text, sizeof(text),
		"{\"op\":\"open\",\"image\":\"%s\",\"cpus\":1,\"memory_mib\":1}", name);
	assert_int_equal(parse(text, &call), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_to_open_a_vm),
		cmocka_unit_test(reason_is_one_harmless_line),
		cmocka_unit_test(request_of_a_vms_record),
		cmocka_unit_test(wrong_requests_are_refused),
		cmocka_unit_test(texts_have_their_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
