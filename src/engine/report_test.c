#include "engine/report.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

static char source[] = "/home/me", target[] = "/in", image_name[] = "debian", image_tag[] = "12";
static const char *argv[] = {"gmx", "mdrun", "-v", NULL};
static struct request request;
static struct resources resources = RESOURCES_INIT;
static struct phase_clock phases;

static int setup(void **state)
{
	request = (struct request){
		.cpus = 2,
		.memory_mib = 1024,
		.scratch_bytes = UINT64_C(10) << 30,
		.network = VM_NETWORK_USER,
		.argv = argv,
		.shares = {.items = {{&gateway_9p, source, target, true}}, .count = 1},
	};
	resources.image_name = image_name;
	resources.image_tag = image_tag;
	memset(resources.image_digest, 'a', sizeof(resources.image_digest) - 1);
	phase_start(&phases);
	phase_enter(&phases, PHASE_FETCH);
	phase_enter(&phases, PHASE_BOOT);
	phase_enter(&phases, PHASE_RUN);
	return 0;
}

static struct report running(void)
{
	return (struct report){
		.name = "vm-12345678",
		.request = &request,
		.resources = &resources,
		.shares = &request.shares,
		.phases = &phases,
		.accel = ACCEL_TCG,
		.qemu_pid = 4711,
		.guest_boot_us = 1900000,
	};
}

static struct report ended(void)
{
	struct report r = running();

	r.ended = true;
	r.exit_code = 3;
	r.has_command = true;
	r.command = (struct exit_status){.exited = 1,
		.code = 3,
		.user_us = 1500000,
		.system_us = 250000,
		.max_rss_kib = 2048};
	r.bytes_to_guest = UINT64_C(5) << 32;
	r.bytes_from_guest = 17;
	r.qemu_rss_kib = 300000;
	r.qemu_user_us = 2000000;
	return r;
}

/* The value at a path such as "usage.user_s". */
static json_t *at(json_t *json, const char *path)
{
	autofree char *copy = strdup(path);
	char *rest = copy, *key;

	while (json && (key = strsep(&rest, ".")))
		json = json_object_get(json, key);
	return json;
}

static void assert_number(json_t *json, const char *path, double expected)
{
	double is = json_number_value(at(json, path));

	if (!json_is_number(at(json, path)) || is != expected)
		fail_msg("%s is %g instead of %g", path, is, expected);
}

static void assert_text(json_t *json, const char *path, const char *expected)
{
	assert_string_equal(json_string_value(at(json, path)), expected);
}

static void running_vm_is_described_without_an_end(void **state)
{
	struct report r = running();
	json_t *json = report_to_json(&r);
	json_t *mount;

	assert_text(json, "name", "vm-12345678");
	assert_text(json, "image.name", "debian");
	assert_text(json, "image.tag", "12");
	assert_int_equal(json_string_length(at(json, "image.digest")), 64);
	assert_text(json, "accel", "tcg");
	assert_text(json, "network", "user");
	assert_text(json, "phase", "run");
	assert_number(json, "cpus", 2);
	assert_number(json, "memory_bytes", 1 << 30);
	assert_number(json, "scratch_bytes", 10737418240.0);
	assert_number(json, "qemu_pid", 4711);
	assert_number(json, "guest_boot_s", 1.9);
	assert_int_equal(json_array_size(at(json, "phases")), 3);
	mount = json_array_get(at(json, "mounts"), 0);
	assert_text(mount, "host", "/home/me");
	assert_text(mount, "guest", "/in");
	assert_text(mount, "gateway", "9p");
	assert_true(json_is_true(at(mount, "read_only")));
	assert_null(at(json, "exit_status"));
	assert_null(at(json, "usage"));
	json_decref(json);
}

static void ended_vm_has_its_status_and_its_usage(void **state)
{
	struct report r = ended();
	json_t *json = report_to_json(&r);

	assert_number(json, "exit_status", 3);
	assert_true(json_is_null(at(json, "reason")));
	assert_number(json, "usage.bytes_to_guest", 21474836480.0);
	assert_number(json, "usage.bytes_from_guest", 17);
	assert_number(json, "usage.peak_memory_bytes", 300000 * 1024.0);
	assert_number(json, "usage.user_s", 2);
	assert_number(json, "command.user_s", 1.5);
	assert_number(json, "command.system_s", 0.25);
	assert_number(json, "command.max_rss_bytes", 2048 * 1024.0);
	assert_int_equal(json_array_size(at(json, "command.argv")), 3);
	assert_string_equal(
		json_string_value(json_array_get(at(json, "command.argv"), 1)), "mdrun");
	json_decref(json);
}

static void failure_has_its_reason(void **state)
{
	struct report r = ended();
	json_t *json;

	r.reason = "the guest's kernel panicked";
	json = report_to_json(&r);
	assert_text(json, "reason", "the guest's kernel panicked");
	json_decref(json);
}

/* Before the image is found there is little to tell, but it is told. */
static void report_of_a_vm_that_never_was_is_one(void **state)
{
	struct resources none = RESOURCES_INIT;
	struct report r = ended();
	json_t *json;

	r.resources = &none;
	r.qemu_pid = 0;
	r.reason = "fetch: no image";
	json = report_to_json(&r);
	assert_non_null(json);
	assert_null(at(json, "qemu_pid"));
	assert_text(json, "reason", "fetch: no image");
	json_decref(json);
}

static void file_holds_the_report_and_nothing_else(void **state)
{
	char directory[] = "/tmp/report-test.XXXXXX";
	struct report r = ended();
	struct error err = {0};
	autofree char *path = NULL;
	json_t *json;

	assert_non_null(mkdtemp(directory));
	path = path_format("%s/report.json", directory);
	for (int i = 0; i < 2; i++) { /* a report from before is replaced */
		r.exit_code = i;
		assert_int_equal(report_write(&r, path, &err), 0);
		json = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
		assert_number(json, "exit_status", i);
		json_decref(json);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(directory), 0);
}

static void file_that_cannot_be_written_is_named(void **state)
{
	struct report r = ended();
	struct error err = {0};

	assert_true(report_write(&r, "/not/there/report.json", &err) < 0);
	assert_non_null(strstr(err.text, "/not/there/report.json"));
}

static void place_for_a_report_is_checked_before_the_work(void **state)
{
	char directory[] = "/tmp/report-test.XXXXXX";
	autofree char *file = NULL;
	struct error err = {0};

	assert_non_null(mkdtemp(directory));
	file = path_format("%s/report", directory);
	assert_int_equal(report_check(file, &err), 0);
	assert_int_equal(report_check("report-beside-us", &err), 0);
	assert_int_equal(report_check("/not/there/report", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/not/there/report"));
	assert_int_equal(report_check("/dev/full", &err), -EINVAL);
	assert_int_equal(report_check(directory, &err), -EINVAL);
	assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(running_vm_is_described_without_an_end),
		cmocka_unit_test(ended_vm_has_its_status_and_its_usage),
		cmocka_unit_test(failure_has_its_reason),
		cmocka_unit_test(report_of_a_vm_that_never_was_is_one),
		cmocka_unit_test(file_holds_the_report_and_nothing_else),
		cmocka_unit_test(file_that_cannot_be_written_is_named),
		cmocka_unit_test(place_for_a_report_is_checked_before_the_work),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
