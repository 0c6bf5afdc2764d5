#include "cli/record_apel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* 2026-11-25T00:00:00Z */
#define NOW_US UINT64_C(1795564800000000)

#define ID "00000000-0000-4000-8000-000000000001"

static const struct record_apel_site site = {
	.name = "EXAMPLE-SITE",
	.submit_host = "ce01.example.org:9619/ce01.example.org-condor",
	.infrastructure_type = "grid",
	.cloud_service = "wnodes.example.org",
	.benchmark = "HEPscore23",
	.benchmark_value = "15.3",
};

static const struct record_apel_site bare_site = {.name = "EXAMPLE-SITE"};

static const char whole[] =
	"{\"id\":\"" ID "\",\"vm\":\"vm-1\",\"node\":\"wn1\",\"job\":{\"system\":\"slurm\","
	"\"id\":\"17\",\"step\":\"2\",\"name\":\"fit\",\"partition\":\"long\","
	"\"account\":\"physics\",\"verified\":true},\"user\":\"alice\",\"uid\":1001,\"gid\":100,"
	"\"image\":{\"name\":\"el9\",\"tag\":\"latest\",\"digest\":\"0123\"},"
	"\"shape\":{\"cpus\":4,\"memory_bytes\":4294967296,\"scratch_bytes\":1073741825,"
	"\"network\":\"user\"},\"started\":\"2026-11-21T17:51:00.900000Z\","
	"\"ended\":\"2026-11-21T18:51:00.100000Z\",\"usage\":{\"cpu_user_s\":3000.4,"
	"\"cpu_system_s\":400.2,\"memory_peak_bytes\":1025,\"network_received_bytes\":1,"
	"\"network_sent_bytes\":2097152}}";

static void check_prints(enum record_apel_kind kind, const struct record_apel_site *at,
	const char *record, const char *expected)
{
	autofree char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	json_t *json = json_loads(record, 0, NULL);
	struct error err = {0};

	assert_non_null(json);
	if (record_apel_check(kind, json, NOW_US, &err) < 0)
		fail_msg("%s", err.text);
	record_apel_print(kind, json, at, out);
	json_decref(json);
	fclose(out);
	assert_string_equal(text, expected);
}

static void refuses(enum record_apel_kind kind, const char *record, const char *why)
{
	json_t *json = json_loads(record, 0, NULL);
	struct error err = {0};

	assert_non_null(json);
	assert_int_equal(record_apel_check(kind, json, NOW_US, &err), -EINVAL);
	assert_string_equal(err.text, why);
	json_decref(json);
}

static void messages_have_their_headers(void **state)
{
	assert_string_equal(
		record_apel_header(RECORD_APEL_JOB), "APEL-individual-job-message: v0.3\n");
	assert_string_equal(record_apel_header(RECORD_APEL_CLOUD), "APEL-cloud-message: v0.4\n");
}

static void job_has_its_fields_in_their_order(void **state)
{
	check_prints(RECORD_APEL_JOB, &site, whole,
		"Site: EXAMPLE-SITE\n"
		"SubmitHost: ce01.example.org:9619/ce01.example.org-condor\n"
		"MachineName: wn1\n"
		"Queue: long\n"
		"LocalJobId: 17.2@wn1\n"
		"LocalUserId: alice\n"
		"VO: physics\n"
		"WallDuration: 3600\n"
		"CpuDuration: 3401\n"
		"Processors: 4\n"
		"NodeCount: 1\n"
		"StartTime: 1795283460\n"
		"EndTime: 1795287060\n"
		"InfrastructureDescription: APEL-WNODES-SLURM\n"
		"InfrastructureType: grid\n"
		"MemoryReal: 2\n"
		"MemoryVirtual: 4194304\n"
		"ServiceLevelType: HEPscore23\n"
		"ServiceLevel: 15.3\n"
		"%%\n");
}

static void cloud_has_its_fields_in_their_order(void **state)
{
	check_prints(RECORD_APEL_CLOUD, &site, whole,
		"RecordCreateTime: 1795287060\n"
		"VMUUID: " ID "\n"
		"SiteName: EXAMPLE-SITE\n"
		"CloudComputeService: wnodes.example.org\n"
		"MachineName: vm-1\n"
		"LocalUserId: alice\n"
		"LocalGroupId: physics\n"
		"GlobalUserName: NULL\n"
		"FQAN: NULL\n"
		"Status: completed\n"
		"StartTime: 1795283460\n"
		"EndTime: 1795287060\n"
		"SuspendDuration: NULL\n"
		"WallDuration: 3600\n"
		"CpuDuration: 3401\n"
		"CpuCount: 4\n"
		"NetworkType: user\n"
		"NetworkInbound: 1\n"
		"NetworkOutbound: 2\n"
		"PublicIPCount: NULL\n"
		"Memory: 4096\n"
		"Disk: 2\n"
		"BenchmarkType: HEPscore23\n"
		"Benchmark: 15.3\n"
		"StorageRecordId: NULL\n"
		"ImageId: 0123\n"
		"CloudType: WNoDeS\n"
		"%%\n");
}

/* Of a job, what is not known has no line; CpuDuration must be there. */
static void unknown_values_of_a_job_are_left_out(void **state)
{
	check_prints(RECORD_APEL_JOB, &bare_site,
		"{\"id\":\"" ID "\",\"node\":null,\"job\":{\"system\":\"local\",\"id\":\"3\","
		"\"step\":null,\"account\":null},\"user\":null,\"shape\":{\"cpus\":null},"
		"\"started\":\"2026-11-21T17:51:00Z\",\"ended\":\"2026-11-21T17:50:00Z\","
		"\"usage\":{\"cpu_user_s\":1.5,\"cpu_system_s\":null,\"memory_peak_bytes\":-1}}",
		"Site: EXAMPLE-SITE\n"
		"LocalJobId: 3\n"
		"WallDuration: 0\n"
		"CpuDuration: 0\n"
		"NodeCount: 1\n"
		"StartTime: 1795283400\n"
		"EndTime: 1795283400\n"
		"InfrastructureDescription: APEL-WNODES-LOCAL\n"
		"%%\n");
}

static void unknown_values_of_a_cloud_are_null(void **state)
{
	check_prints(RECORD_APEL_CLOUD, &bare_site,
		"{\"id\":\"" ID "\",\"gid\":100,\"image\":{\"name\":\"el9\",\"tag\":\"latest\"},"
		"\"started\":\"2026-11-21T17:51:00Z\",\"ended\":\"2026-11-21T17:51:01Z\"}",
		"RecordCreateTime: 1795283461\n"
		"VMUUID: " ID "\n"
		"SiteName: EXAMPLE-SITE\n"
		"CloudComputeService: NULL\n"
		"MachineName: NULL\n"
		"LocalUserId: NULL\n"
		"LocalGroupId: 100\n"
		"GlobalUserName: NULL\n"
		"FQAN: NULL\n"
		"Status: completed\n"
		"StartTime: 1795283460\n"
		"EndTime: 1795283461\n"
		"SuspendDuration: NULL\n"
		"WallDuration: 1\n"
		"CpuDuration: 0\n"
		"CpuCount: NULL\n"
		"NetworkType: NULL\n"
		"NetworkInbound: NULL\n"
		"NetworkOutbound: NULL\n"
		"PublicIPCount: NULL\n"
		"Memory: NULL\n"
		"Disk: NULL\n"
		"BenchmarkType: NULL\n"
		"Benchmark: NULL\n"
		"StorageRecordId: NULL\n"
		"ImageId: el9:latest\n"
		"CloudType: WNoDeS\n"
		"%%\n");
}

/* Neither an end of a line, in any way that Python's splitlines() knows, nor "%%" gets through. */
static void hostile_texts_stay_in_their_field(void **state)
{
	const struct record_apel_site odd = {
		.name = " \n%%\nSite: OTHER\r", .infrastructure = "a%%%b", .benchmark = ""};

	check_prints(RECORD_APEL_JOB, &odd,
		"{\"id\":\"" ID "\",\"node\":\"x\\u0085y\\u2028z\",\"job\":{\"id\":\"1\\n%%\","
		"\"step\":\"%\",\"account\":\"\\t\",\"partition\":\"q\\u000b\\u001c\\u0007r\"},"
		"\"user\":\"a\\nVO: atlas\",\"started\":\"2026-11-21T17:51:00Z\","
		"\"ended\":\"2026-11-21T17:51:01Z\"}",
		"Site: %_ Site: OTHER\n"
		"MachineName: x??y???z\n"
		"Queue: q   r\n"
		"LocalJobId: 1 %_.%@x??y???z\n"
		"LocalUserId: a VO: atlas\n"
		"WallDuration: 1\n"
		"CpuDuration: 0\n"
		"NodeCount: 1\n"
		"StartTime: 1795283460\n"
		"EndTime: 1795283461\n"
		"InfrastructureDescription: a%_%b\n"
		"%%\n");
}

static void texts_end_where_tables_end(void **state)
{
	char name[400], expected[300];
	const struct record_apel_site at = {.name = "S", .infrastructure = name};
	autofree char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	json_t *json = json_loads(whole, 0, NULL);

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	snprintf(expected, sizeof(expected), "Description: %.255s\nMemory", name);
	record_apel_print(RECORD_APEL_JOB, json, &at, out);
	json_decref(json);
	fclose(out);
	assert_non_null(strstr(text, expected));
}

static void what_apel_would_refuse_is_not_told(void **state)
{
	refuses(RECORD_APEL_JOB,
		"{\"id\":\"" ID "\",\"job\":null,\"started\":\"2026-11-21T17:51:00Z\","
		"\"ended\":\"2026-11-21T17:51:01Z\"}",
		"record " ID ": its VM was no job's");
	refuses(RECORD_APEL_JOB,
		"{\"id\":\"" ID "\",\"job\":{\"id\":\" \\n\"},\"started\":\"2026-11-21T17:51:00Z\","
		"\"ended\":\"2026-11-21T17:51:01Z\"}",
		"record " ID ": its VM was no job's");
	refuses(RECORD_APEL_CLOUD,
		"{\"started\":\"2026-11-21T17:51:00Z\",\"ended\":\"2026-11-21T17:51:01Z\"}",
		"record without an id: nothing to know it by");
	refuses(RECORD_APEL_CLOUD, "{\"id\":\"" ID "\",\"ended\":\"2026-11-21T17:51:01Z\"}",
		"record " ID ": it does not say when its VM started");
	refuses(RECORD_APEL_CLOUD,
		"{\"id\":\"" ID "\",\"started\":\"2026-11-21T17:51:01Z\",\"ended\":\"soon\"}",
		"record " ID ": it does not say when its VM ended");
	refuses(RECORD_APEL_CLOUD,
		"{\"id\":\"" ID "\",\"started\":\"2026-11-21T17:51:01Z\","
		"\"ended\":\"2026-11-27T00:00:00.000001Z\"}",
		"record " ID ": its VM ends in the future");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_have_their_headers),
		cmocka_unit_test(job_has_its_fields_in_their_order),
		cmocka_unit_test(cloud_has_its_fields_in_their_order),
		cmocka_unit_test(unknown_values_of_a_job_are_left_out),
		cmocka_unit_test(unknown_values_of_a_cloud_are_null),
		cmocka_unit_test(hostile_texts_stay_in_their_field),
		cmocka_unit_test(texts_end_where_tables_end),
		cmocka_unit_test(what_apel_would_refuse_is_not_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
