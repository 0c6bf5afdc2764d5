/* The status of a job's VM: what is written is read again, nothing else is, and the directory stays
 * small. */
#include "engine/status.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/status_file.h"
#include "engine/status_job.h"
#include "lib/file.h"
#include "lib/path.h"

/* After our own headers: it defines a macro of the name fail. */
#include <cmocka.h>

#define DAY_US UINT64_C(86400000000)

static char directory[64];

static struct status sample(void)
{
	struct status s = {
		.job = {.cluster = "c", .job = "12", .step = "0", .node = "w1", .restart = 1},
		.vm = "vm-1",
		.image = "debian:latest",
		.accepted_us = 1000000000,
		.phase = PHASE_RUN,
		.exit_status = -1,
		.reason = "a \"reason\"\nof two lines",
	};

	s.phases[PHASE_FETCH] = (struct status_phase){true, 10, 20};
	s.phases[PHASE_BOOT] = (struct status_phase){true, 30, 2000};
	s.phases[PHASE_RUN] = (struct status_phase){true, 2500, 100};
	status_starter_set(&s.starter);
	return s;
}

static int setup(void **state)
{
	snprintf(directory, sizeof(directory), "/tmp/status-test.XXXXXX");
	assert_non_null(mkdtemp(directory));
	clearenv();
	setenv("XDG_STATE_HOME", directory, 1);
	return 0;
}

static int teardown(void **state)
{
	return file_remove_tree(AT_FDCWD, directory);
}

static void what_is_written_is_read_again(void **state)
{
	struct status s = sample(), again;
	autofree char *json = status_format(&s);
	struct error err = {0};

	assert_int_equal(status_parse(json, strlen(json), &again, &err), 0);
	assert_string_equal(again.job.node, "w1");
	assert_int_equal(again.job.restart, 1);
	assert_int_equal(again.starter.pid, getpid());
	assert_string_equal(again.reason, s.reason);
	assert_int_equal(again.exit_status, -1);
	assert_int_equal(again.phase, PHASE_RUN);
	assert_int_equal(again.phases[PHASE_BOOT].duration_us, 2000);
	assert_false(again.phases[PHASE_CLONE].entered);
}

/* With one member changed, each is refused and says which it was. */
static void what_is_no_status_is_refused(void **state)
{
	static const char *const bad[][2] = {{"version", "2"}, {"job", "\"../12\""},
		{"job", "\"1.2\""}, {"job", "\"\""}, {"cluster", "\".c\""}, {"node", "\"a/b\""},
		{"pid", "0"}, {"pid", "-1"}, {"pid", "4e9"}, {"pid", "99999999999"},
		{"restart", "null"}, {"accepted_us", "9223372036854775807"}, {"exit_status", "256"},
		{"exit_status", "-1"}, {"exit_status", "\"0\""}, {"phase", "\"gone\""},
		{"phase", "1"}, {"phases", "{}"}, {"phases", "[1]"},
		{"phases", "[{\"phase\":\"boot\",\"start_us\":-1,\"duration_us\":0}]"},
		{"phases", "[{\"phase\":\"boot\",\"start_us\":1}]"}, {"reason", "null"},
		{"vm", "\"\\u001b[2J\""}};
	struct status s = sample(), again;
	autofree char *json = status_format(&s);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *root = json_loads(json, 0, NULL);
		autofree char *changed = NULL;
		struct error err = {0};

		json_object_set_new(root, bad[i][0], json_loads(bad[i][1], JSON_DECODE_ANY, NULL));
		changed = json_dumps(root, 0);
		json_decref(root);
		assert_int_equal(status_parse(changed, strlen(changed), &again, &err), -EINVAL);
		assert_true(err.text[0]);
	}
}

static void times_go_on_until_the_vm_has_ended(void **state)
{
	struct status s = sample();

	assert_int_equal(status_provision_us(&s, 0), 2500);
	assert_int_equal(status_phase_us(&s, PHASE_RUN, 0), 100);
	assert_int_equal(status_phase_us(&s, PHASE_RUN, s.accepted_us + 5000), 2500);
	assert_int_equal(status_phase_us(&s, PHASE_CLONE, s.accepted_us + 5000), 0);
	/* The other host's clock is behind ours. */
	assert_int_equal(status_phase_us(&s, PHASE_RUN, 5), 100);
	s.phases[PHASE_RUN].entered = false;
	s.phase = PHASE_BOOT;
	assert_int_equal(status_provision_us(&s, 0), 2030);
	assert_int_equal(status_provision_us(&s, s.accepted_us + 9000), 9000);
	s.phase = PHASE_FAILED;
	assert_int_equal(status_provision_us(&s, s.accepted_us + 9000), 2030);
}

static void job_is_found_by_the_batch_system_s_variables(void **state)
{
	struct status_job job;

	assert_false(status_job_find(&job));
	setenv("SLURM_JOB_ID", "7", 1);
	setenv("SLURM_STEP_ID", "4294967291", 1);
	setenv("SLURM_CLUSTER_NAME", "spike", 1);
	setenv("SLURMD_NODENAME", "w1", 1);
	setenv("SLURM_RESTART_COUNT", "2", 1);
	assert_true(status_job_find(&job));
	assert_string_equal(job.cluster, "spike");
	assert_string_equal(job.job, "7");
	assert_string_equal(job.step, "batch");
	assert_string_equal(job.node, "w1");
	assert_int_equal(job.restart, 2);
	/* What leads elsewhere is not taken. */
	setenv("SLURM_CLUSTER_NAME", "../..", 1);
	setenv("SLURMD_NODENAME", "/etc", 1);
	assert_true(status_job_find(&job));
	assert_string_equal(job.cluster, "slurm");
	assert_true(status_is_word(job.node));
	setenv("SLURM_JOB_ID", "7/8", 1);
	assert_false(status_job_find(&job));
	setenv("SLURM_JOB_ID", "7.8", 1);
	assert_false(status_job_find(&job));
	setenv("WNODES_JOB_ID", "3", 1);
	assert_true(status_job_find(&job));
	assert_string_equal(job.job, "3");
	assert_non_null(str_after(job.cluster, STATUS_LOCAL));
}

static int count_each(const struct status *s, void *userdata)
{
	*(int *)userdata += 1;
	return 0;
}

static int count(void)
{
	int n = 0;
	const struct status_reader reader = {.each = count_each, .userdata = &n};
	struct error err = {0};

	assert_int_equal(status_file_list(&reader, &err), 0);
	return n;
}

static bool exists(const char *name)
{
	autofree char *path = path_format("%s/wnodes/jobs/c/%s", directory, name);

	return access(path, F_OK) == 0;
}

static void two_of_one_name_get_a_file_each(void **state)
{
	struct status_file one = STATUS_FILE_INIT, two = STATUS_FILE_INIT;
	struct status s = sample();

	assert_int_equal(count(), 0);
	assert_int_equal(status_file_write(&one, &s), 0);
	assert_int_equal(status_file_write(&two, &s), 0);
	assert_int_equal(status_file_write(&one, &s), 0);
	assert_true(exists("12.0.1-w1"));
	assert_true(exists("12.0.1-w1+1"));
	assert_int_equal(count(), 2);
	status_file_done(&one);
	status_file_done(&two);
}

static void directory_that_cannot_be_written_is_an_error_and_no_more(void **state)
{
	struct status_file file = STATUS_FILE_INIT;
	struct status s = sample();
	autofree char *path = path_format("%s/wnodes", directory);

	assert_int_equal(file_replace(AT_FDCWD, path, "", 0, 0600), 0);
	assert_true(status_file_write(&file, &s) < 0);
	assert_int_equal(status_file_write(&file, &s), -ECANCELED);
	status_file_sweep(&file, 0);
	status_file_done(&file);
}

/* Of the user's home anything may be found there. */
static void what_else_lies_there_is_passed_over(void **state)
{
	static char huge[STATUS_MAX + 2];
	struct status_file file = STATUS_FILE_INIT;
	struct status s = sample();
	int fd;

	assert_int_equal(status_file_write(&file, &s), 0);
	fd = file.directory_fd;
	memset(huge, ' ', sizeof(huge));
	assert_int_equal(file_replace(fd, "13.0.0-w1", huge, sizeof(huge), 0600), 0);
	assert_int_equal(file_replace(fd, "14.0.0-w1", "{", 1, 0600), 0);
	assert_int_equal(file_replace(fd, "nodot", "{}", 2, 0600), 0);
	assert_int_equal(mkfifoat(fd, "15.0.0-w1", 0600), 0);
	assert_int_equal(mkdirat(fd, "16.0.0-w1", 0700), 0);
	assert_int_equal(symlinkat("12.0.1-w1", fd, "12.link"), 0);
	assert_int_equal(linkat(fd, "12.0.1-w1", fd, "99.0.1-w1", 0), 0); /* says 12 */
	if (geteuid() == 0) {
		autofree char *json = status_format(&s);

		assert_int_equal(file_replace(fd, "12.1.0-w1", json, strlen(json), 0600), 0);
		assert_int_equal(fchownat(fd, "12.1.0-w1", 64123, 64123, 0), 0);
	}
	assert_int_equal(count(), 1);
	status_file_done(&file);
}

/* Makes its last change lie so many days back. */
static void age(int fd, const char *name, int days)
{
	const struct timespec then = {.tv_sec = time(NULL) - days * INT64_C(86400)};

	assert_int_equal(utimensat(fd, name, (struct timespec[]){then, then}, 0), 0);
}

static void old_ones_are_swept_once_an_hour(void **state)
{
	struct status_file running = STATUS_FILE_INIT, ended = STATUS_FILE_INIT;
	struct status s = sample();

	assert_int_equal(status_file_write(&running, &s), 0);
	snprintf(s.job.job, sizeof(s.job.job), "11");
	s.phase = PHASE_DONE;
	assert_int_equal(status_file_write(&ended, &s), 0);
	assert_int_equal(file_replace(ended.directory_fd, "mine", "x", 1, 0600), 0);
	age(ended.directory_fd, "mine", 400);
	age(ended.directory_fd, "11.0.1-w1", 20);
	age(ended.directory_fd, "12.0.1-w1", 20);
	status_file_sweep(&ended, 30 * DAY_US);
	assert_true(exists("11.0.1-w1"));
	/* An hour has not passed. */
	status_file_sweep(&ended, 10 * DAY_US);
	assert_true(exists("11.0.1-w1"));
	age(ended.directory_fd, ".swept", 1);
	status_file_sweep(&ended, 10 * DAY_US);
	assert_false(exists("11.0.1-w1"));
	assert_true(exists("12.0.1-w1")); /* may still run */
	assert_true(exists("mine"));
	status_file_done(&running);
	status_file_done(&ended);
}

static int copy_each(const struct status *s, void *userdata)
{
	*(struct status *)userdata = *s;
	return 7;
}

static void job_without_a_vm_tells_why(void **state)
{
	const struct status_job job = {.cluster = "c", .job = "5", .step = "0", .node = "w1"};
	struct status found = {0};
	const struct status_reader reader = {.each = copy_each, .userdata = &found};
	struct error err = {0};

	assert_int_equal(status_file_note_refusal(&job, NULL, "the site forbids \xff it"), 0);
	assert_int_equal(status_file_list(&reader, &err), 7);
	assert_int_equal(found.phase, PHASE_FAILED);
	assert_int_equal(found.exit_status, 125);
	assert_string_equal(found.reason, "?"); /* it was no text */
	assert_int_equal(status_provision_us(&found, UINT64_MAX), 0);
}

static void starter_that_is_dead_is_told_from_one_elsewhere(void **state)
{
	struct status_starter starter;
	char host[64] = "";

	gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = '\0';
	status_starter_set(&starter);
	assert_int_equal(status_starter_look(&starter, host), STATUS_ALIVE);
	starter.start++; /* another process of the same number */
	assert_int_equal(status_starter_look(&starter, host), STATUS_DEAD);
	starter.space[0] = 'x';
	assert_int_equal(status_starter_look(&starter, host), STATUS_UNKNOWN);
	snprintf(starter.boot, sizeof(starter.boot), "another");
	assert_int_equal(status_starter_look(&starter, host), STATUS_DEAD);
	assert_int_equal(status_starter_look(&starter, "elsewhere"), STATUS_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(what_is_no_status_is_refused),
		cmocka_unit_test(times_go_on_until_the_vm_has_ended),
		cmocka_unit_test(job_is_found_by_the_batch_system_s_variables),
		cmocka_unit_test_setup_teardown(two_of_one_name_get_a_file_each, setup, teardown),
		cmocka_unit_test_setup_teardown(
			directory_that_cannot_be_written_is_an_error_and_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_else_lies_there_is_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(old_ones_are_swept_once_an_hour, setup, teardown),
		cmocka_unit_test_setup_teardown(job_without_a_vm_tells_why, setup, teardown),
		cmocka_unit_test(starter_that_is_dead_is_told_from_one_elsewhere),
	};

	clearenv();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
