#include "cli/record_csv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base.h"

static const char titles[] =
	"id,vm,node,user,uid,gid,job_system,job_id,job_step,job_name,partition,account,"
	"job_verified,image,tag,digest,policy,accel,cpus,memory_bytes,scratch_bytes,network,"
	"start,started,lent,ended,took_s,exit_status,reason,source,cpu_user_s,cpu_system_s,"
	"memory_peak_bytes,guest_oom_kills,disk_read_bytes,disk_written_bytes,"
	"network_received_bytes,network_sent_bytes\n";

static void prints(const char *record, const char *expected)
{
	autofree char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	json_t *json = json_loads(record, 0, NULL);

	assert_non_null(json);
	record_csv_print(json, out);
	json_decref(json);
	fclose(out);
	assert_string_equal(text, expected);
}

static void titles_stand_for_all_columns(void **state)
{
	autofree char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	record_csv_print_titles(out);
	fclose(out);
	assert_string_equal(text, titles);
}

static void whole_record_is_one_line(void **state)
{
	prints("{\"schema\":1,\"id\":\"00000000-0000-4000-8000-000000000001\",\"vm\":\"vm-1\","
	       "\"node\":\"wn1\",\"job\":{\"system\":\"slurm\",\"id\":\"17\",\"step\":\"2\","
	       "\"name\":\"fit\",\"partition\":\"long\",\"account\":\"physics\","
	       "\"verified\":true},\"user\":\"alice\",\"uid\":1001,\"gid\":100,"
	       "\"image\":{\"name\":\"el9\",\"tag\":\"latest\",\"digest\":\"0123\"},"
	       "\"policy\":\"grid\",\"shape\":{\"accel\":\"kvm\",\"cpus\":4,"
	       "\"memory_bytes\":4294967296,\"scratch_bytes\":0,\"network\":\"user\"},"
	       "\"start\":\"clone\",\"started\":\"2026-11-21T17:51:00.000000Z\","
	       "\"lent\":\"2026-11-21T17:51:00.250000Z\","
	       "\"ended\":\"2026-11-21T17:52:01.500000Z\",\"phases\":[],\"exit_status\":0,"
	       "\"reason\":null,\"source\":\"both\",\"usage\":{\"cpu_user_s\":0.1,"
	       "\"cpu_system_s\":12.0,\"memory_peak_bytes\":123456789,\"guest_oom_kills\":1,"
	       "\"disk_read_bytes\":2,\"disk_written_bytes\":3,\"network_received_bytes\":4,"
	       "\"network_sent_bytes\":5}}",
		"00000000-0000-4000-8000-000000000001,vm-1,wn1,alice,1001,100,slurm,17,2,fit,long,"
		"physics,true,el9,latest,0123,grid,kvm,4,4294967296,0,user,clone,"
		"2026-11-21T17:51:00.000000Z,2026-11-21T17:51:00.250000Z,"
		"2026-11-21T17:52:01.500000Z,61.5,0,,both,0.1,12,123456789,1,2,3,4,5\n");
}

static void what_is_missing_is_empty(void **state)
{
	const char empty[] = ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\n";

	prints("{}", empty);
	prints("{\"id\":null,\"job\":null,\"usage\":{\"cpu_user_s\":null},\"image\":7,"
	       "\"user\":[1],\"ended\":\"2026-11-21T17:52:01Z\",\"later\":1}",
		",,,,,,,,,,,,,,,,,,,,,,,,,2026-11-21T17:52:01Z,,,,,,,,,,,,\n");
}

static void hostile_texts_stay_in_their_field(void **state)
{
	prints("{\"user\":\"a,b\",\"job\":{\"name\":\"say \\\"hi\\\"\\r\\nx,y\","
	       "\"account\":\"=1+1\",\"step\":\"%%\"},\"reason\":\"\\\"\"}",
		",,,\"a,b\",,,,,%%,\"say \"\"hi\"\"\r\nx,y\",,=1+1,,,,,,,,,,,,,,,,,\"\"\"\",,,,,,,,,\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(titles_stand_for_all_columns),
		cmocka_unit_test(whole_record_is_one_line),
		cmocka_unit_test(what_is_missing_is_empty),
		cmocka_unit_test(hostile_texts_stay_in_their_field),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
