/* Texts as Slurm 22.05 and 23.11 print them, cut to what is read. */
#include "lrms/slurm_parse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/child.h"

#define MIB (1ull << 20)

static struct lrms_job jobs[8];
static size_t count;
static struct error err;

static int reset(void **state)
{
	while (count > 0)
		lrms_job_done(&jobs[--count]);
	err = (struct error){0};
	return 0;
}

static int take(struct lrms_job *job, void *userdata)
{
	jobs[count++] = *job;
	*job = (struct lrms_job){0};
	return 0;
}

static void parse(const char *text)
{
	if (slurm_parse_queue(text, take, NULL, &err) != 0)
		fail_msg("%s", err.text);
}

static const char old[] =
	"{\"meta\": {}, \"errors\": [], \"jobs\": ["
	"{\"job_id\": 1, \"job_state\": \"RUNNING\", \"name\": \"x y\", \"user_name\": \"you\", "
	"\"nodes\": \"n1\", \"cpus\": 2, \"memory_per_node\": 100, \"memory_per_cpu\": null, "
	"\"submit_time\": 1795285188, \"start_time\": 1795285189, \"end_time\": 1826821189, "
	"\"exit_code\": 0, \"state_reason\": \"None\", \"current_working_directory\": \"/tmp\", "
	"\"comment\": \"{\\\"wnodes\\\":{\\\"image\\\":\\\"debian\\\",\\\"argv\\\":[\\\"./a\\\","
	"\\\"b c\\\"]}}\"},"
	"{\"job_id\": 2, \"job_state\": \"FAILED\", \"name\": \"f\", \"user_name\": \"you\", "
	"\"nodes\": \"n1\", \"cpus\": 4, \"memory_per_node\": null, \"memory_per_cpu\": 10, "
	"\"submit_time\": 1, \"start_time\": 2, \"end_time\": 3, \"exit_code\": 768, "
	"\"state_reason\": \"NonZeroExitCode\", \"comment\": \"my own\"},"
	"{\"job_id\": 3, \"job_state\": \"PENDING\", \"nodes\": \"\", \"cpus\": 1, "
	"\"start_time\": 1826821189, \"end_time\": 1826821190, \"state_reason\": \"Resources\"},"
	"{\"job_id\": 4, \"job_state\": \"CANCELLED\", \"exit_code\": 15},"
	"{\"job_id\": 5, \"job_state\": \"OUT_OF_MEMORY\", \"exit_code\": 9}"
	"]}";

static void jobs_of_slurm_22(void **state)
{
	parse(old);
	assert_int_equal(count, 5);
	assert_string_equal(jobs[0].id, "1");
	assert_string_equal(jobs[0].name, "x y");
	assert_string_equal(jobs[0].image, "debian");
	assert_int_equal(jobs[0].argv.count, 2);
	assert_string_equal(jobs[0].argv.items[1], "b c");
	assert_int_equal(jobs[0].state, LRMS_RUNNING);
	assert_null(jobs[0].reason);
	assert_int_equal(jobs[0].exit_status, -1);
	assert_int_equal(jobs[0].memory_bytes, 100 * MIB);
	assert_true(jobs[0].started_us == 1795285189000000);
	assert_true(jobs[0].ended_us == 0); /* an estimate */

	assert_int_equal(jobs[1].state, LRMS_FAILED);
	assert_int_equal(jobs[1].exit_status, 3);
	assert_string_equal(jobs[1].reason, "NonZeroExitCode");
	assert_int_equal(jobs[1].memory_bytes, 40 * MIB);
	assert_null(jobs[1].image);
	assert_int_equal(jobs[1].argv.count, 0);

	assert_int_equal(jobs[2].state, LRMS_QUEUED);
	assert_true(jobs[2].started_us == 0);
	assert_string_equal(jobs[2].reason, "Resources");
	assert_null(jobs[2].node);

	assert_int_equal(jobs[3].state, LRMS_CANCELLED);
	assert_int_equal(jobs[3].exit_status, 143);
	assert_int_equal(jobs[4].state, LRMS_FAILED);
	assert_string_equal(jobs[4].reason, "out of memory");
	assert_int_equal(jobs[4].exit_status, 137);
}

static void jobs_of_slurm_23_and_later(void **state)
{
	parse("{\"jobs\": [{\"job_id\": 7, \"job_state\": [\"COMPLETED\"], \"user_name\": \"you\", "
	      "\"cpus\": {\"set\": true, \"infinite\": false, \"number\": 2}, "
	      "\"memory_per_node\": {\"set\": true, \"infinite\": false, \"number\": 64}, "
	      "\"memory_per_cpu\": {\"set\": false, \"infinite\": false, \"number\": 5}, "
	      "\"end_time\": {\"set\": true, \"infinite\": false, \"number\": 12}, "
	      "\"exit_code\": {\"status\": [\"SUCCESS\"], \"return_code\": {\"set\": true, "
	      "\"number\": 0}, \"signal\": {\"id\": {\"set\": false, \"number\": 0}}}},"
	      "{\"job_id\": 8, \"job_state\": [\"FAILED\"], \"exit_code\": {\"status\": "
	      "[\"SIGNALED\"], \"return_code\": {\"set\": true, \"number\": 0}, \"signal\": "
	      "{\"id\": {\"set\": true, \"number\": 11}}}}]}");
	assert_int_equal(count, 2);
	assert_int_equal(jobs[0].state, LRMS_DONE);
	assert_int_equal(jobs[0].cpus, 2);
	assert_int_equal(jobs[0].memory_bytes, 64 * MIB);
	assert_true(jobs[0].ended_us == 12000000);
	assert_int_equal(jobs[0].exit_status, 0);
	assert_int_equal(jobs[1].exit_status, 139);
}

static void what_is_no_list_of_jobs_is_refused(void **state)
{
	static const char *const wrong[] = {"", "slurm_load_jobs error", "[]", "{}",
		"{\"jobs\": 5}", "{\"jobs\": [5]}", "{\"jobs\": [{}]}",
		"{\"jobs\": [{\"job_id\": \"1\", \"job_state\": \"RUNNING\"}]}",
		"{\"jobs\": [{\"job_id\": -1, \"job_state\": \"RUNNING\"}]}",
		"{\"jobs\": [{\"job_id\": 1}]}",
		"{\"jobs\": [{\"job_id\": 1, \"job_state\": []}]}"};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(slurm_parse_queue(wrong[i], take, NULL, &err), -EPROTO);
		assert_non_null(strstr(err.text, "squeue"));
	}
	assert_int_equal(count, 0);
	parse("{\"jobs\": []}");
	/* Members of other types than expected are as if they were not there. */
	parse("{\"jobs\": [{\"job_id\": 1, \"job_state\": \"PENDING\", \"name\": 5, \"cpus\": "
	      "\"many\", \"memory_per_node\": 1e300, \"submit_time\": -5, \"comment\": "
	      "\"{\\\"wnodes\\\": {\\\"argv\\\": [1, null], \\\"image\\\": []}}\"}]}");
	assert_int_equal(count, 1);
	assert_null(jobs[0].name);
	assert_int_equal(jobs[0].cpus, 0);
	assert_int_equal(jobs[0].argv.count, 0);
}

#define D SLURM_RECORD_DELIMITER

static void records(void **state)
{
	char text[] = "3" D "FAILED" D "7:0" D "root" D "1795286090" D "1795286091" D "1795286092" D
		      "2" D "123M" D "w1" D "/tmp/a b" D "" D "sh\n"
		      "2" D "RUNNING" D "0:0" D "root" D "1795286090" D "1795286090" D "Unknown" D
		      "1" D "50Mn" D "w3" D "/x" D "{\"wnodes\":{\"image\":\"el9\"}}" D "a|b\n"
		      "4" D "CANCELLED by 1000" D "0:15" D "root" D "1" D "Unknown" D "2" D "2" D
		      "1Gc" D "None assigned" D "/x" D "" D "name" D "with it\n";

	assert_int_equal(slurm_parse_records(text, take, NULL, &err), 0);
	assert_int_equal(count, 3);
	assert_string_equal(jobs[0].id, "3");
	assert_int_equal(jobs[0].state, LRMS_FAILED);
	assert_int_equal(jobs[0].exit_status, 7);
	assert_true(jobs[0].ended_us == 1795286092000000);
	assert_int_equal(jobs[0].memory_bytes, 123 * MIB);
	assert_string_equal(jobs[0].directory, "/tmp/a b");
	assert_int_equal(jobs[1].state, LRMS_RUNNING);
	assert_true(jobs[1].ended_us == 0);
	assert_int_equal(jobs[1].memory_bytes, 50 * MIB);
	assert_string_equal(jobs[1].image, "el9");
	assert_string_equal(jobs[1].name, "a|b");
	assert_int_equal(jobs[2].state, LRMS_CANCELLED);
	assert_int_equal(jobs[2].exit_status, 143);
	assert_int_equal(jobs[2].memory_bytes, 2048 * MIB);
	assert_null(jobs[2].node);
	assert_string_equal(jobs[2].name, "name" D "with it");
}

static void damaged_records_are_refused(void **state)
{
	static const char *const wrong[] = {"x", "3" D "FAILED",
		"x" D "FAILED" D "7:0" D "" D "" D "" D "" D "" D "" D "" D "" D "" D "",
		"3" D "FAILED" D "7" D "" D "" D "" D "" D "" D "" D "" D "" D "" D ""};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		autofree char *text = strdup(wrong[i]);

		assert_int_equal(slurm_parse_records(text, take, NULL, &err), -EPROTO);
	}
	assert_int_equal(slurm_parse_records((char[]){"\n\n"}, take, NULL, &err), 0);
	assert_int_equal(count, 0);
}

static void the_id_of_what_was_submitted(void **state)
{
	static const char *const wrong[] = {"", "\n", "x", "12x", "Submitted batch job 12", "-1",
		";c", "99999999999999999999999999999999999"};
	char id[LRMS_ID_MAX];

	assert_int_equal(slurm_parse_submitted("12\n", id, &err), 0);
	assert_string_equal(id, "12");
	assert_int_equal(slurm_parse_submitted("13;cluster\n", id, &err), 0);
	assert_string_equal(id, "13");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(slurm_parse_submitted(wrong[i], id, &err), -EPROTO);
}

/* What a shell makes of the script is the command, whatever is in it. */
static void the_script_is_the_command(void **state)
{
	static const char *const command[] = {"printf", "[%s]", "it's", "'", "''", "$HOME `id` \\",
		"\"x\"\ny", "", "-n", "\x01\xff", NULL};
	autofree char *script = slurm_script(command);
	struct child_spec child = CHILD_SPEC_INIT;
	autofree char *text = NULL;

	assert_int_equal(strncmp(script, "#!/bin/sh\nexec ", 15), 0);
	child.argv = (const char *const[]){"sh", "-c", script, NULL};
	assert_int_equal(child_output(&child, 10000, 1000, &text, &err), 0);
	assert_string_equal(text, "[it's]['][''][$HOME `id` \\][\"x\"\ny][][-n][\x01\xff]");
}

static void comments_stay_short(void **state)
{
	static char word[4000];
	struct lrms_submission s = {
		.image = "debian", .argv = (const char *const[]){"a", "b c", NULL}};
	autofree char *text = slurm_comment(&s);
	autofree char *without = NULL, *odd = NULL;

	assert_string_equal(text, "{\"wnodes\":{\"image\":\"debian\",\"argv\":[\"a\",\"b c\"]}}");
	memset(word, 'x', sizeof(word) - 1);
	s.argv = (const char *const[]){word, NULL};
	without = slurm_comment(&s);
	assert_string_equal(without, "{\"wnodes\":{\"image\":\"debian\"}}");
	/* What is no UTF-8 cannot be in it. */
	s.argv = (const char *const[]){"\xff", NULL};
	odd = slurm_comment(&s);
	assert_string_equal(odd, "{\"wnodes\":{\"image\":\"debian\"}}");
	s = (struct lrms_submission){.argv = (const char *const[]){"a", NULL}};
	free(odd);
	odd = slurm_comment(&s);
	assert_string_equal(odd, "{\"wnodes\":{\"argv\":[\"a\"]}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(jobs_of_slurm_22, reset, reset),
		cmocka_unit_test_setup_teardown(jobs_of_slurm_23_and_later, reset, reset),
		cmocka_unit_test_setup_teardown(what_is_no_list_of_jobs_is_refused, reset, reset),
		cmocka_unit_test_setup_teardown(records, reset, reset),
		cmocka_unit_test_setup_teardown(damaged_records_are_refused, reset, reset),
		cmocka_unit_test(the_id_of_what_was_submitted),
		cmocka_unit_test(the_script_is_the_command),
		cmocka_unit_test(comments_stay_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
