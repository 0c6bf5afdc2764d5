#define SWEEP_US 20000
#include "hypervisor/ledger.c" /* NOLINT(bugprone-suspicious-include) */

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/deadline.h"
#include "lib/file.h"

#define PATIENCE_MS 20000

static char directory[] = "/tmp/ledger-test.XXXXXX", *spool, *file, *notes;
static sd_event *event;
static struct ledger *ledger;

static void open_ledger(void)
{
	struct error err = {0};

	assert_true(sd_event_new(&event) >= 0);
	if (ledger_new(event, directory, spool, "n17", &ledger, &err) < 0)
		fail_msg("%s", err.text);
}

static void close_ledger(void)
{
	ledger = ledger_free(ledger);
	event = sd_event_unref(event);
}

static int setup(void **state)
{
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	log_set("ledger_test", LOG_LEVEL_ERROR);
	if (!mkdtemp(directory))
		return -1;
	spool = path_format("%s/spool", directory);
	file = path_format("%s/" RECORD_FILE, directory);
	notes = path_format("%s/loans", directory);
	open_ledger();
	return 0;
}

static int teardown(void **state)
{
	close_ledger();
	free(spool);
	free(file);
	free(notes);
	return file_remove_tree(AT_FDCWD, directory);
}

static json_t *make_record(const char *id, uid_t uid)
{
	struct record r = RECORD_INIT;

	r.id = id;
	r.uid = uid;
	r.started_us = r.ended_us = 1;
	return record_to_json(&r);
}

static void add(const char *id, uid_t uid, pid_t keeper)
{
	json_t *known = make_record(id, uid);

	assert_int_equal(ledger_add(ledger, id, known, keeper), 0);
	json_decref(known);
}

static void on_written(const char *err, void *userdata)
{
	int *result = userdata;

	*result = err ? -1 : 1;
}

static size_t count_records(void)
{
	static const struct record_filter all = {0, UINT64_MAX};
	struct record_reader *reader AUTO(record_reader_freep) = NULL;
	size_t count = 0;
	json_t *json;

	if (record_reader_open(file, &all, &reader, NULL) < 0)
		return 0;
	for (; record_reader_next(reader, &json, NULL) == 1; count++)
		json_decref(json);
	return count;
}

/* A member of the only record; the caller frees. */
static char *only_record(const char *key)
{
	autofree char *text = NULL;
	char *value;
	size_t length;
	json_t *json;

	assert_int_equal(count_records(), 1);
	assert_int_equal(file_read(AT_FDCWD, file, 65536, &text, &length), 0);
	json = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
	value = json_dumps(json_object_get(json, key), JSON_ENCODE_ANY);
	json_decref(json);
	return value;
}

static bool has_note(const char *id)
{
	autofree char *path = path_format("%s/%s", notes, id);

	return access(path, F_OK) == 0;
}

static void run_for_ms(int ms)
{
	uint64_t end = deadline_in_ms(ms);

	while (deadline_left_ms(end) > 0)
		sd_event_run(event, 5000);
}

static void wait_for_records(size_t count)
{
	uint64_t end = deadline_in_ms(PATIENCE_MS);

	while (count_records() < count && deadline_left_ms(end) > 0)
		sd_event_run(event, 5000);
	run_for_ms(100);
	assert_int_equal(count_records(), count);
}

/* The record is on the disk before its note is removed. */
static void wait_for_no_note(const char *id)
{
	uint64_t end = deadline_in_ms(PATIENCE_MS);

	while (has_note(id) && deadline_left_ms(end) > 0)
		sd_event_run(event, 5000);
	assert_false(has_note(id));
}

static const char id_1[] = "00000000-0000-4000-8000-000000000001",
		  id_2[] = "00000000-0000-4000-8000-000000000002";

static void record_takes_the_place_of_the_note(void **state)
{
	int result = 0;

	add(id_1, 1000, getpid());
	run_for_ms(100);
	assert_true(has_note(id_1));
	assert_int_equal(count_records(), 0);
	assert_int_equal(ledger_write(ledger, make_record(id_1, 1000), on_written, &result), 0);
	while (!result)
		sd_event_run(event, 100000);
	assert_int_equal(result, 1);
	wait_for_records(1);
	wait_for_no_note(id_1);
}

static void id_has_one_record_also_after_a_restart(void **state)
{
	int result[3] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(result); i++)
		ledger_write(ledger, make_record(id_1, 1000), on_written, &result[i]);
	wait_for_records(1);
	assert_true(result[0] == 1 && result[1] == 1 && result[2] == 1);
	close_ledger();
	open_ledger();
	result[0] = 0;
	ledger_write(ledger, make_record(id_1, 1000), on_written, &result[0]);
	run_for_ms(200);
	assert_int_equal(result[0], 1);
	assert_int_equal(count_records(), 1);
}

static void who_is_gone_is_not_told(void **state)
{
	int result = 0;

	ledger_write(ledger, make_record(id_1, 1000), on_written, &result);
	ledger_forget(ledger, &result);
	wait_for_records(1);
	assert_int_equal(result, 0);
}

/* Our own pid, and the time of another's start: a process that is gone. */
static void vm_that_nobody_tells_of_has_its_record(void **state)
{
	struct ledger_note note = {.keeper = {.pid = getpid(), .start = 1}};
	autofree char *source = NULL;

	close_ledger();
	snprintf(note.id, sizeof(note.id), "%s", id_1);
	note.known = make_record(id_1, 1000);
	open_ledger();
	ledger_disk_note(&ledger->disk, &note);
	json_decref(note.known);
	close_ledger();
	open_ledger();
	wait_for_records(1);
	source = only_record("source");
	assert_string_equal(source, "\"" RECORD_BY_NODE "\"");
	wait_for_no_note(id_1);
}

static void vm_whose_program_lives_is_waited_for(void **state)
{
	json_t *known;

	add(id_1, 1000, getpid());
	close_ledger();
	assert_true(has_note(id_1));
	open_ledger();
	run_for_ms(300);
	assert_int_equal(count_records(), 0);
	/* Another user's it is not, and nobody's twice. */
	assert_null(ledger_claim(ledger, id_1, 1001));
	assert_null(ledger_claim(ledger, id_2, 1000));
	known = ledger_claim(ledger, id_1, 1000);
	assert_non_null(known);
	json_decref(known);
	assert_null(ledger_claim(ledger, id_1, 1000));
}

static void note_of_a_vm_that_has_its_record_is_removed(void **state)
{
	struct ledger_note note = {.keeper = {.pid = 0}};

	ledger_write(ledger, make_record(id_1, 1000), NULL, NULL);
	wait_for_records(1);
	snprintf(note.id, sizeof(note.id), "%s", id_1);
	note.known = make_record(id_1, 1000);
	ledger_disk_note(&ledger->disk, &note);
	json_decref(note.known);
	close_ledger();
	open_ledger();
	wait_for_no_note(id_1);
	run_for_ms(200);
	assert_int_equal(count_records(), 1);
}

static void damaged_note_is_removed(void **state)
{
	autofree char *path = path_format("%s/%s", notes, id_1);

	assert_int_equal(file_replace(AT_FDCWD, path, "{\"record\":", 10, 0600), 0);
	close_ledger();
	log_set("ledger_test", LOG_LEVEL_ERROR);
	open_ledger();
	wait_for_no_note(id_1);
	run_for_ms(100);
	assert_int_equal(count_records(), 0);
}

/* The spool is read before the VM is written off, and its owner must be the VM's. */
static void record_in_the_spool_is_the_vms(void **state)
{
	json_t *told = make_record(id_1, 0);
	autofree char *source = NULL, *uid = NULL;
	struct error err = {0};

	add(id_1, geteuid(), getpid());
	json_object_set_new(told, "reason", json_string("told"));
	assert_int_equal(spool_write(spool, told, &err), 0);
	/* As long as its connection is there that is to tell it. */
	run_for_ms(300);
	assert_int_equal(count_records(), 0);
	ledger_release(ledger, id_1);
	wait_for_records(1);
	source = only_record("source");
	uid = only_record("uid");
	assert_string_equal(source, "\"" RECORD_BY_BOTH "\"");
	assert_int_equal(strtoul(uid, NULL, 10), geteuid());
	/* Once more, and it is removed without another record. */
	assert_int_equal(spool_write(spool, told, &err), 0);
	json_decref(told);
	run_for_ms(300);
	assert_int_equal(count_records(), 1);
	assert_int_equal(rmdir(spool), 0);
	assert_int_equal(mkdir(spool, 01777), 0);
}

static void record_of_anothers_vm_is_refused(void **state)
{
	json_t *told = make_record(id_1, geteuid());
	struct error err = {0};

	add(id_1, geteuid() + 1, getpid());
	ledger_release(ledger, id_1);
	assert_int_equal(spool_write(spool, told, &err), 0);
	json_decref(told);
	run_for_ms(300);
	assert_int_equal(count_records(), 0);
	assert_int_equal(rmdir(spool), 0); /* it is empty */
	assert_int_equal(mkdir(spool, 01777), 0);
}

static void user_makes_up_a_few_at_most(void **state)
{
	struct error err = {0};
	char id[UUID_TEXT_SIZE];

	for (int i = 0; i < STRANGERS_MAX + 15; i++) {
		json_t *told;

		uuid_new(id);
		told = make_record(id, 0);
		assert_int_equal(spool_write(spool, told, &err), 0);
		json_decref(told);
	}
	wait_for_records(STRANGERS_MAX);
	run_for_ms(200);
	assert_int_equal(count_records(), STRANGERS_MAX);
}

/* Of a directory in the file's place nothing is known but that it cannot be written. */
static void what_cannot_be_written_is_tried_again(void **state)
{
	int result = 0;

	assert_int_equal(mkdir(file, 0700), 0);
	add(id_1, 1000, getpid());
	ledger_write(ledger, make_record(id_1, 1000), on_written, &result);
	ledger_write(ledger, make_record(id_2, 1000), NULL, NULL);
	run_for_ms(300);
	assert_int_equal(result, 1); /* its note is as good */
	assert_true(has_note(id_1));
	assert_int_equal(rmdir(file), 0);
	wait_for_records(2);
	wait_for_no_note(id_1);
}

static void record_that_was_only_noted_is_written_by_the_next(void **state)
{
	int result = 0;

	assert_int_equal(mkdir(file, 0700), 0);
	ledger_write(ledger, make_record(id_1, 1000), on_written, &result);
	run_for_ms(300);
	assert_int_equal(result, 1);
	close_ledger();
	assert_int_equal(rmdir(file), 0);
	open_ledger();
	wait_for_records(1);
	wait_for_no_note(id_1);
}

static void what_waits_is_written_at_the_end(void **state)
{
	for (int i = 0; i < 600; i++) {
		char id[UUID_TEXT_SIZE];

		uuid_new(id);
		ledger_write(ledger, make_record(id, 1000), NULL, NULL);
	}
	close_ledger();
	assert_int_equal(count_records(), 600);
	open_ledger();
}

/* VMs that are lent and have their record, as many as there is time for; the id of each that is
 * noted, or written, goes into the pipe first. */
struct told {
	char id[UUID_TEXT_SIZE];
};

static void on_acknowledged(const char *err, void *userdata)
{
	*(bool *)userdata = true;
}

static void __attribute__((noreturn)) serve(int fd)
{
	open_ledger();
	for (;;) {
		struct told told;
		bool done = false;

		uuid_new(told.id);
		add(told.id, 1000, 0);
		while (!has_note(told.id))
			sd_event_run(event, 1000);
		if (write(fd, &told, sizeof(told)) != sizeof(told))
			_exit(1);
		ledger_write(ledger, make_record(told.id, 1000), on_acknowledged, &done);
		while (!done)
			sd_event_run(event, 1000);
	}
}

static size_t count_id(const char *id)
{
	autofree char *text = NULL, *key = path_format("\"id\":\"%s\"", id);
	size_t length, count = 0;

	assert_int_equal(file_read(AT_FDCWD, file, 1 << 26, &text, &length), 0);
	for (const char *at = text; (at = strstr(at, key)); at++)
		count++;
	return count;
}

static void killed_daemon_loses_none_and_doubles_none(void **state)
{
	size_t total = 0;
	struct told told;
	int fds[2];

	close_ledger();
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	for (int round = 0; round < 25; round++) {
		pid_t pid = fork();

		if (pid == 0)
			serve(fds[1]);
		usleep(20000 + (useconds_t)(round * 7919 % 50000));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	close(fds[1]);
	open_ledger();
	ledger->started_us = 0; /* the minute in which VMs may come back is over */
	run_for_ms(1500);
	for (; read(fds[0], &told, sizeof(told)) == sizeof(told); total++) {
		assert_int_equal(count_id(told.id), 1);
		wait_for_no_note(told.id);
	}
	close(fds[0]);
	assert_true(total > 25);
	assert_true(count_records() >= total);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			record_takes_the_place_of_the_note, setup, teardown),
		cmocka_unit_test_setup_teardown(
			id_has_one_record_also_after_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_gone_is_not_told, setup, teardown),
		cmocka_unit_test_setup_teardown(
			vm_that_nobody_tells_of_has_its_record, setup, teardown),
		cmocka_unit_test_setup_teardown(
			vm_whose_program_lives_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(
			note_of_a_vm_that_has_its_record_is_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_note_is_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(record_in_the_spool_is_the_vms, setup, teardown),
		cmocka_unit_test_setup_teardown(record_of_anothers_vm_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(user_makes_up_a_few_at_most, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_cannot_be_written_is_tried_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
			record_that_was_only_noted_is_written_by_the_next, setup, teardown),
		cmocka_unit_test_setup_teardown(what_waits_is_written_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(
			killed_daemon_loses_none_and_doubles_none, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
