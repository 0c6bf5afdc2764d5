#include "lrms/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/file.h"
#include "lib/path.h"
#include "lrms/local.h"

#include <cmocka.h>

#define NOON 1700000000000000 /* the clock of these tests, in microseconds */

static char top[] = "/tmp/entry-test.XXXXXX";
static struct database *db;
static struct error err;

static int setup(void **state)
{
	strcpy(top + sizeof(top) - 7, "XXXXXX");
	err = (struct error){0};
	return !mkdtemp(top) || database_open(top, &db, &err) < 0;
}

static int teardown(void **state)
{
	db = database_free(db);
	return file_remove_tree(AT_FDCWD, top);
}

static const char *const argv[] = {"./job", "a b", "", "it's", NULL};
static const char *const command[] = {"/bin/wnodes", "run", "--", "./job", NULL};
static const char *const environment[] = {"PATH=/bin", "EMPTY=", NULL};

static int64_t add(const char *name)
{
	const struct lrms_submission submission = {
		.name = name,
		.image = "debian",
		.argv = argv,
		.command = command,
		.environment = environment,
		.directory = "/home/you",
		.output = "out-%j",
		.error = "err-%j",
		.cpus = 2,
		.memory_bytes = 3ull << 30,
		.timeout_us = 5000000,
		.umask = 027,
	};
	int64_t id;

	if (entry_add(db, &submission, "you", "node", NOON, &id, &err) < 0)
		fail_msg("%s", err.text);
	return id;
}

/* This process, as a keeper. */
static struct entry_keeper this_process(void)
{
	struct entry_keeper keeper;

	assert_int_equal(process_boot_id(keeper.boot), 0);
	assert_int_equal(process_find(getpid(), &keeper.process), 0);
	return keeper;
}

static void expect_state(int64_t id, enum lrms_state state, int exit_status, const char *reason)
{
	struct entry entry AUTO(entry_done) = {0};

	assert_int_equal(entry_find(db, id, &entry, &err), 0);
	assert_string_equal(lrms_state_name(entry.job.state), lrms_state_name(state));
	assert_int_equal(entry.job.exit_status, exit_status);
	if (reason)
		assert_non_null(strstr(entry.job.reason, reason));
	else
		assert_null(entry.job.reason);
}

static void what_is_added_is_found_as_it_was(void **state)
{
	struct entry entry AUTO(entry_done) = {0};
	int64_t id = add("first");

	assert_int_equal(id, 1);
	assert_int_equal(entry_find(db, id, &entry, &err), 0);
	assert_string_equal(entry.job.id, "1");
	assert_string_equal(entry.job.name, "first");
	assert_string_equal(entry.job.user, "you");
	assert_string_equal(entry.job.node, "node");
	assert_string_equal(entry.job.image, "debian");
	assert_string_equal(entry.job.directory, "/home/you");
	assert_string_equal(entry.output, "out-%j");
	assert_string_equal(entry.error, "err-%j");
	assert_int_equal(entry.job.state, LRMS_QUEUED);
	assert_int_equal(entry.job.exit_status, -1);
	assert_int_equal(entry.job.cpus, 2);
	assert_true(entry.job.memory_bytes == 3ull << 30);
	assert_int_equal(entry.timeout_us, 5000000);
	assert_int_equal(entry.umask, 027);
	assert_true(entry.job.submitted_us == NOON);
	assert_true(entry.job.started_us == 0 && entry.job.ended_us == 0);
	assert_int_equal(entry.job.argv.count, 4);
	for (size_t i = 0; argv[i]; i++)
		assert_string_equal(entry.job.argv.items[i], argv[i]);
	assert_int_equal(entry.command.count, 4);
	assert_int_equal(entry.environment.count, 2);
	assert_string_equal(strv_env_get(&entry.environment, "EMPTY"), "");
	assert_int_equal(strlen(entry.mark), strlen(ENTRY_MARK_NAME "=") + 32);
}

static void all_changes_of_state_and_no_others(void **state)
{
	struct entry_keeper keeper = this_process(), other = keeper;
	int64_t id = add("job");

	other.process.start++;
	/* queued: it has no end yet. */
	assert_int_equal(entry_end(db, id, &keeper, LRMS_DONE, 0, NULL, NOON + 1, &err), 0);
	assert_int_equal(entry_want_end(db, id, &err), 0);
	expect_state(id, LRMS_QUEUED, -1, NULL);
	/* One keeper gets it. */
	assert_int_equal(entry_claim(db, id, &keeper, 77, NOON + 2, &err), 1);
	assert_int_equal(entry_claim(db, id, &other, 78, NOON + 3, &err), 0);
	expect_state(id, LRMS_RUNNING, -1, NULL);
	/* running: not to be cancelled or refused as if it were queued, nor ended by another. */
	assert_int_equal(entry_cancel(db, id, NOON + 4, &err), 0);
	assert_int_equal(entry_refuse(db, id, 1, "no", NOON + 4, &err), 0);
	assert_int_equal(entry_end(db, id, &other, LRMS_DONE, 0, NULL, NOON + 4, &err), 0);
	assert_int_equal(entry_want_end(db, id, &err), 1);
	expect_state(id, LRMS_RUNNING, -1, NULL);
	assert_int_equal(entry_end(db, id, &keeper, LRMS_FAILED, 3, "why", NOON + 5, &err), 1);
	expect_state(id, LRMS_FAILED, 3, "why");
	/* An end is an end. */
	assert_int_equal(entry_end(db, id, &keeper, LRMS_DONE, 0, NULL, NOON + 6, &err), 0);
	assert_int_equal(entry_claim(db, id, &keeper, 79, NOON + 6, &err), 0);
	assert_int_equal(entry_cancel(db, id, NOON + 6, &err), 0);
	assert_int_equal(entry_want_end(db, id, &err), 0);
	expect_state(id, LRMS_FAILED, 3, "why");
}

static void times_are_the_callers(void **state)
{
	struct entry_keeper keeper = this_process();
	struct entry entry AUTO(entry_done) = {0};
	int64_t id = add("job");

	entry_claim(db, id, &keeper, 77, NOON + 10, &err);
	entry_end(db, id, &keeper, LRMS_DONE, 0, NULL, NOON + 30, &err);
	assert_int_equal(entry_find(db, id, &entry, &err), 0);
	assert_true(entry.job.submitted_us == NOON);
	assert_true(entry.job.started_us == NOON + 10);
	assert_true(entry.job.ended_us == NOON + 30);
	/* What was needed to start it is gone. */
	assert_int_equal(entry.command.count, 0);
	assert_int_equal(entry.environment.count, 0);
	assert_int_equal(entry.job.argv.count, 4);
}

static void cancelled_and_refused_before_they_began(void **state)
{
	int64_t first = add("a"), second = add("b");

	assert_int_equal(entry_cancel(db, first, NOON, &err), 1);
	assert_int_equal(entry_refuse(db, second, 125, "too big", NOON, &err), 1);
	expect_state(first, LRMS_CANCELLED, -1, "before it began");
	expect_state(second, LRMS_FAILED, 125, "too big");
}

static int note_id(const struct entry *entry, void *userdata)
{
	strcat(strcat(userdata, entry->job.id), " ");
	return 0;
}

static void expect_list(enum entry_selection selection, const char *expected)
{
	char ids[256] = "";

	assert_int_equal(entry_list(db, selection, note_id, ids, &err), 0);
	assert_string_equal(ids, expected);
}

static void lists_are_in_the_order_of_submission(void **state)
{
	struct entry_keeper keeper = this_process();

	for (int i = 0; i < 6; i++)
		add("job");
	entry_claim(db, 4, &keeper, 77, NOON, &err);
	entry_claim(db, 2, &keeper, 77, NOON, &err);
	entry_cancel(db, 1, NOON, &err);
	entry_end(db, 4, &keeper, LRMS_DONE, 0, NULL, NOON, &err);
	expect_list(ENTRY_ALL, "1 2 3 4 5 6 ");
	expect_list(ENTRY_ACTIVE, "2 3 5 6 ");
	expect_list(ENTRY_QUEUED, "3 5 6 ");
	expect_list(ENTRY_RUNNING, "2 ");
}

static void old_jobs_are_forgotten_and_their_ids_not_used_again(void **state)
{
	add("a");
	add("b");
	add("c");
	entry_cancel(db, 1, NOON, &err);
	entry_cancel(db, 3, NOON + 100, &err);
	assert_int_equal(entry_forget(db, NOON + 100, &err), 1);
	expect_list(ENTRY_ALL, "2 3 ");
	assert_int_equal(entry_forget(db, NOON + 101, &err), 1);
	/* Not those that have not ended, however old. */
	assert_int_equal(entry_forget(db, INT64_MAX, &err), 0);
	assert_int_equal(add("d"), 4);
	assert_int_equal(entry_find(db, 3, &(struct entry){0}, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no job 3"));
}

static void a_job_with_a_living_keeper_is_not_settled(void **state)
{
	struct entry_keeper keeper = this_process();
	struct entry entry AUTO(entry_done) = {0};
	int64_t id = add("job");

	entry_claim(db, id, &keeper, 77, NOON, &err);
	assert_int_equal(local_settle(db, &err), 0);
	assert_int_equal(entry_find(db, id, &entry, &err), 0);
	assert_true(entry_is_kept(&entry));
	assert_int_equal(entry_settle(db, &entry, NOON, &err), 0);
	expect_state(id, LRMS_RUNNING, -1, NULL);
}

static void a_job_whose_keeper_is_dead_gets_its_end(void **state)
{
	struct entry_keeper keeper = this_process(), dead = keeper, rebooted = keeper;
	int64_t first = add("a"), second = add("b"), third = add("c");

	dead.process.start--;
	snprintf(rebooted.boot, sizeof(rebooted.boot), "another");
	entry_claim(db, first, &dead, 77, NOON, &err);
	entry_claim(db, second, &rebooted, 77, NOON, &err);
	entry_claim(db, third, &dead, 77, NOON, &err);
	entry_want_end(db, third, &err);
	assert_int_equal(local_settle(db, &err), 3);
	expect_state(first, LRMS_FAILED, -1, "nobody saw its end");
	expect_state(second, LRMS_FAILED, -1, "machine went down");
	expect_state(third, LRMS_CANCELLED, -1, "nobody saw");
	assert_int_equal(local_settle(db, &err), 0);
}

/* What was read before its keeper noted the end must not overwrite that. */
static void an_end_that_is_noted_meanwhile_stays(void **state)
{
	struct entry_keeper dead = this_process();
	struct entry entry AUTO(entry_done) = {0};
	int64_t id = add("job");

	dead.process.start--;
	entry_claim(db, id, &dead, 77, NOON, &err);
	assert_int_equal(entry_find(db, id, &entry, &err), 0);
	entry_end(db, id, &dead, LRMS_DONE, 0, NULL, NOON + 1, &err);
	assert_int_equal(entry_settle(db, &entry, NOON + 2, &err), 0);
	expect_state(id, LRMS_DONE, 0, NULL);
}

static void what_is_left_of_a_job_is_killed_before_it_is_settled(void **state)
{
	struct entry_keeper dead = this_process();
	struct entry entry AUTO(entry_done) = {0};
	int64_t id = add("job");
	int status;
	pid_t pid;

	dead.process.start--;
	entry_claim(db, id, &dead, 77, NOON, &err);
	assert_int_equal(entry_find(db, id, &entry, &err), 0);
	pid = fork();
	if (pid == 0) {
		char *const arguments[] = {(char[]){"sleep"}, (char[]){"1000"}, NULL};
		char *const variables[] = {entry.mark, NULL};

		execve("/bin/sleep", arguments, variables);
		_exit(1);
	}
	usleep(50000);
	assert_int_equal(entry_settle(db, &entry, NOON, &err), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void ids_are_numbers(void **state)
{
	static const char *const wrong[] = {"", "0", "-1", "1 ", "x", "1x", "99999999999999999999"};
	int64_t id;

	assert_int_equal(entry_parse_id("12", &id, &err), 0);
	assert_int_equal(id, 12);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(entry_parse_id(wrong[i], &id, &err), -EINVAL);
}

/* Lists are blobs of a file that anything may have been done to. */
static void damaged_lists_are_read_within_their_bounds(void **state)
{
	struct entry entry AUTO(entry_done) = {0};
	sqlite3_stmt *statement AUTO(database_finalize) = NULL;
	int64_t id = add("job");

	assert_int_equal(database_prepare(db,
				 "UPDATE job SET argv = X'610062', command = X'', environment = 5, "
				 "mark = '', boot = 7, keeper_pid = 'x'",
				 &statement, &err),
		0);
	assert_int_equal(database_change(db, statement, "change", &err), 1);
	assert_int_equal(entry_find(db, id, &entry, &err), 0);
	assert_int_equal(entry.job.argv.count, 2);
	assert_string_equal(entry.job.argv.items[1], "b");
	assert_int_equal(entry.command.count, 0);
	assert_int_equal(entry.environment.count, 1);
}

/* Many processes, each with its own connection: no id is given twice, no job is claimed twice. */
static void many_processes_add_and_claim(void **state)
{
	enum { PROCESSES = 6, EACH = 15 };
	int claimed = 0, status;

	db = database_free(db);
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			struct entry_keeper keeper = {.process.pid = i + 1, .boot = "x"};
			int count = 0;

			if (database_open(top, &db, &err) < 0)
				_exit(255);
			for (int j = 0; j < EACH; j++)
				add("job");
			for (int64_t id = 1; id <= (int64_t)PROCESSES * EACH; id++)
				count += entry_claim(db, id, &keeper, 1, NOON, &err) == 1;
			_exit(count);
		}
	for (int i = 0; i < PROCESSES; i++) {
		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
		claimed += WEXITSTATUS(status);
	}
	assert_int_equal(database_open(top, &db, &err), 0);
	/* Those that were added late were claimed by their own process at least. */
	assert_int_equal(claimed, PROCESSES * EACH);
	assert_int_equal(add("last"), PROCESSES * EACH + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_added_is_found_as_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(
			all_changes_of_state_and_no_others, setup, teardown),
		cmocka_unit_test_setup_teardown(times_are_the_callers, setup, teardown),
		cmocka_unit_test_setup_teardown(
			cancelled_and_refused_before_they_began, setup, teardown),
		cmocka_unit_test_setup_teardown(
			lists_are_in_the_order_of_submission, setup, teardown),
		cmocka_unit_test_setup_teardown(
			old_jobs_are_forgotten_and_their_ids_not_used_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_job_with_a_living_keeper_is_not_settled, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_job_whose_keeper_is_dead_gets_its_end, setup, teardown),
		cmocka_unit_test_setup_teardown(
			an_end_that_is_noted_meanwhile_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_is_left_of_a_job_is_killed_before_it_is_settled, setup, teardown),
		cmocka_unit_test(ids_are_numbers),
		cmocka_unit_test_setup_teardown(
			damaged_lists_are_read_within_their_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(many_processes_add_and_claim, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
