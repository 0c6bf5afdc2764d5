static int lock_timeout_ms;
#define LOCK_TIMEOUT_MS lock_timeout_ms
#include "engine/record.c" /* NOLINT(bugprone-suspicious-include) */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/path.h"

static char directory[] = "/tmp/record-test.XXXXXX", *path;

static int setup(void **state)
{
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	lock_timeout_ms = 60000;
	if (!mkdtemp(directory))
		return -1;
	path = path_format("%s/records.jsonl", directory);
	return path ? 0 : -1;
}

static int teardown(void **state)
{
	free(path);
	return file_remove_tree(AT_FDCWD, directory);
}

static void append(const char *id, uint64_t ended_us)
{
	struct record r = RECORD_INIT;
	struct error err = {0};

	r.id = id;
	r.ended_us = ended_us;
	if (record_append(path, &r, &err) < 0)
		fail_msg("%s", err.text);
}

static const char id_1[] = "00000000-0000-4000-8000-000000000001",
		  id_2[] = "00000000-0000-4000-8000-000000000002",
		  id_3[] = "00000000-0000-4000-8000-000000000003";

static const struct record_filter all = {0, UINT64_MAX};

/* Reads all of a file and calls `each`; returns the number of records. */
static size_t read_records(const char *file, const struct record_filter *filter,
	void (*each)(json_t *json, void *userdata), void *userdata, uint64_t *ret_damaged)
{
	struct record_reader *reader AUTO(record_reader_freep) = NULL;
	struct error err = {0};
	json_t *json;
	size_t count = 0;
	int r;

	if (record_reader_open(file, filter, &reader, &err) < 0)
		fail_msg("%s", err.text);
	while ((r = record_reader_next(reader, &json, &err)) == 1) {
		if (each)
			each(json, userdata);
		json_decref(json);
		count++;
	}
	assert_int_equal(r, 0);
	if (ret_damaged)
		*ret_damaged = record_reader_damaged(reader);
	return count;
}

static void write_raw(const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void record_says_what_the_manual_lists(void **state)
{
	struct phase_clock phases;
	struct record r = RECORD_INIT;
	json_t *json;
	const char *name, *digest, *started, *account;
	double user_s;
	json_int_t memory, disk;

	phase_start(&phases);
	phase_enter(&phases, PHASE_FETCH);
	phase_enter(&phases, PHASE_DONE);
	r.id = id_1;
	r.job.system = "slurm";
	r.job.account = "physics";
	r.image_name = "el9";
	r.image_digest = "abc";
	r.started_us = UINT64_C(1795283460250000);
	r.ended_us = r.started_us + 1;
	r.phases = &phases;
	r.memory_bytes = UINT64_C(1) << 33;
	r.cpu_user_us = 1500000;
	r.disk_written_bytes = UINT64_C(5) << 32;
	json = record_to_json(&r);
	assert_int_equal(json_unpack(json, "{s:{s:s}, s:{s:s, s:s}, s:s, s:{s:I}, s:{s:f, s:I}}",
				 "job", "account", &account, "image", "name", &name, "digest",
				 &digest, "started", &started, "shape", "memory_bytes", &memory,
				 "usage", "cpu_user_s", &user_s, "disk_written_bytes", &disk),
		0);
	assert_string_equal(account, "physics");
	assert_string_equal(digest, "abc");
	assert_string_equal(started, "2026-11-21T17:51:00.250000Z");
	assert_true(memory == INT64_C(1) << 33 && disk == INT64_C(5) << 32 && user_s == 1.5);
	assert_int_equal(json_array_size(json_object_get(json, "phases")), 1);
	/* What is not known is null, and there. */
	assert_true(json_is_null(json_object_get(json, "exit_status")));
	assert_true(json_is_null(
		json_object_get(json_object_get(json, "usage"), "network_sent_bytes")));
	json_decref(json);
}

static void keep_name(json_t *json, void *userdata)
{
	const char *name = json_string_value(json_object_get(json_object_get(json, "job"), "name"));

	snprintf(userdata, 1024, "%s", name ? name : "(null)");
}

static void what_users_wrote_cannot_break_the_line(void **state)
{
	struct record r = RECORD_INIT;
	char name[1024], text[100000];

	r.id = id_1;
	r.ended_us = 1;
	r.job.system = "slurm";
	r.job.name = "a\nb\"\x01{\xc3\xa9";
	assert_int_equal(record_append(path, &r, NULL), 0);
	assert_int_equal(read_records(path, &all, keep_name, name, NULL), 1);
	assert_string_equal(name, r.job.name);
	r.job.name = "no \xff\xfe utf-8";
	assert_int_equal(record_append(path, &r, NULL), 0);
	assert_int_equal(read_records(path, &all, keep_name, name, NULL), 2);
	assert_string_equal(name, "no ?? utf-8");
	memset(text, 1, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	r.job.id = r.job.step = r.job.name = r.job.partition = r.job.account = r.vm = r.node =
		r.user = r.image_name = r.image_tag = r.image_digest = r.policy = r.accel =
			r.network = r.start = r.reason = r.job.system = text;
	assert_int_equal(record_append(path, &r, NULL), 0);
	assert_int_equal(read_records(path, &all, keep_name, name, NULL), 3);
	assert_int_equal(strlen(name), 512);
}

static void filter_takes_the_records_of_a_time(void **state)
{
	const struct record_filter some = {1000, 2000}, none = {5000, 4000};

	append(id_1, 999);
	append(id_2, 1000);
	append(id_3, 1999);
	append(id_1, 2000);
	assert_int_equal(read_records(path, &some, NULL, NULL, NULL), 2);
	assert_int_equal(read_records(path, &none, NULL, NULL, NULL), 0);
	assert_int_equal(read_records(path, &all, NULL, NULL, NULL), 4);
}

static void torn_line_costs_no_other_record(void **state)
{
	uint64_t damaged;

	append(id_1, 1);
	write_raw("{\"schema\":1,\"id\":\"00000000-00");
	/* Its writer may still be at it. */
	assert_int_equal(read_records(path, &all, NULL, NULL, &damaged), 1);
	assert_int_equal(damaged, 0);
	append(id_2, 2);
	append(id_3, 3);
	assert_int_equal(read_records(path, &all, NULL, NULL, &damaged), 3);
	assert_int_equal(damaged, 1);
}

static void what_is_no_record_is_passed_over_and_counted(void **state)
{
	uint64_t damaged;
	char *text = malloc(3 * RECORD_LINE_MAX);

	write_raw(
		"\n\nhello\n[]\n{}\n{\"schema\":1,\"id\":\"x\",\"ended\":\"2026-01-01T00:00:00Z\"}\n"
		"{\"schema\":1,\"id\":\"00000000-0000-4000-8000-000000000001\",\"ended\":\"now\"}\n"
		"{\"schema\":0,\"id\":\"00000000-0000-4000-8000-000000000001\",\"ended\":"
		"\"2026-01-01T00:00:00Z\"}\n");
	/* A later version's, and one with more in it. */
	write_raw("{\"schema\":2,\"id\":\"00000000-0000-4000-8000-000000000001\",\"ended\":"
		  "\"2026-01-01T00:00:00Z\",\"new\":[1]}\n");
	memset(text, 'x', 3 * RECORD_LINE_MAX);
	text[3 * RECORD_LINE_MAX - 2] = '\n';
	text[3 * RECORD_LINE_MAX - 1] = '\0';
	write_raw(text);
	free(text);
	append(id_2, 2);
	assert_int_equal(read_records(path, &all, NULL, NULL, &damaged), 2);
	assert_int_equal(damaged, 7);
}

static void bad_places_are_told(void **state)
{
	struct record_reader *reader = NULL;
	struct record r = RECORD_INIT;
	struct error err = {0};

	r.id = id_1;
	assert_int_equal(record_append("/no/such/place/x", &r, &err), -ENOENT);
	assert_non_null(strstr(err.text, "cannot write the usage record to '/no/such/place/x'"));
	assert_int_equal(record_append(directory, &r, &err), -EISDIR);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(record_append(path, &r, &err), -ELOOP);
	assert_int_equal(record_append("/dev/null", &r, &err), -EINVAL);
	assert_int_equal(record_reader_open("/no/such/file", &all, &reader, &err), -ENOENT);
	assert_int_equal(record_reader_open("/dev/null", &all, &reader, &err), -EINVAL);
}

static void stuck_writer_is_not_waited_for_for_ever(void **state)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	struct record r = RECORD_INIT;
	struct error err = {0};

	r.id = id_1;
	lock_timeout_ms = 300;
	assert_int_equal(file_lock(fd, true, false), 0);
	assert_int_equal(record_append(path, &r, &err), -ETIMEDOUT);
	close(fd);
	append(id_1, 1);
}

/* A disk that fills up in the middle of a line: by the limit on the size of files. */
static void full_disk_leaves_no_part_of_a_record(void **state)
{
	struct record r = RECORD_INIT;
	struct error err = {0};
	struct stat before, after;
	struct rlimit old, limit;
	uint64_t damaged;
	int ret;

	append(id_1, 1);
	assert_int_equal(stat(path, &before), 0);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){(rlim_t)before.st_size + 100, old.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	r.id = id_2;
	r.ended_us = 2;
	ret = record_append(path, &r, &err);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(ret, -ENOSPC);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	append(id_3, 3);
	assert_int_equal(read_records(path, &all, NULL, NULL, &damaged), 2);
	assert_int_equal(damaged, 0);
}

/* The same on a file system that is full. */
static void full_file_system_is_told_and_passes(void **state)
{
	struct record r = RECORD_INIT;
	uint64_t damaged;
	size_t written = 0;
	int ret = 0;

	if (geteuid() != 0 || mount("tmpfs", directory, "tmpfs", 0, "size=16k") < 0)
		skip();
	r.id = id_1;
	for (r.ended_us = 1; r.ended_us < 1000 && ret == 0; r.ended_us++) {
		ret = record_append(path, &r, NULL);
		written += ret == 0;
	}
	assert_int_equal(ret, -ENOSPC);
	assert_true(written > 5);
	assert_int_equal(read_records(path, &all, NULL, NULL, &damaged), written);
	assert_int_equal(damaged, 0);
	assert_int_equal(umount(directory), 0);
}

/* Appends until it is killed, and tells each id through the pipe once it is on the disk. */
static void append_for_ever(int out)
{
	char id[UUID_TEXT_SIZE];

	for (;;) {
		struct record r = RECORD_INIT;

		r.id = id;
		r.ended_us = 1;
		r.reason = "a text that makes the line longer, as a failure's reason would";
		if (uuid_new(id) < 0 || record_append(path, &r, NULL) < 0)
			_exit(1);
		if (write(out, id, sizeof(id)) != sizeof(id))
			_exit(1);
	}
}

struct ids {
	json_t *seen;
	size_t twice;
};

static void keep_id(json_t *json, void *userdata)
{
	struct ids *ids = userdata;
	const char *id = json_string_value(json_object_get(json, "id"));

	ids->twice += json_object_get(ids->seen, id) != NULL;
	json_object_set_new(ids->seen, id, json_true());
}

static void writers_that_are_killed_lose_nothing_that_was_acknowledged(void **state)
{
	enum { ROUNDS = 40, WRITERS = 3 };
	struct ids ids = {json_object(), 0};
	char id[UUID_TEXT_SIZE];
	size_t told = 0, records;
	int pipe_fds[2];

	assert_int_equal(pipe(pipe_fds), 0);
	fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 20);
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pids[WRITERS];

		for (int i = 0; i < WRITERS; i++) {
			pids[i] = fork();
			if (pids[i] == 0)
				append_for_ever(pipe_fds[1]);
		}
		usleep(2000 + (useconds_t)(rand() % 20000));
		for (int i = 0; i < WRITERS; i++) {
			int status;

			kill(pids[i], SIGKILL);
			waitpid(pids[i], &status, 0);
			assert_true(WIFSIGNALED(status));
		}
		/* What a power cut would leave of a line, which no kill does for sure. */
		if (round % 4 == 0)
			write_raw("{\"schema\":1,\"id");
	}
	close(pipe_fds[1]);
	append(id_1, 1);
	records = read_records(path, &all, keep_id, &ids, NULL);
	while (read(pipe_fds[0], id, sizeof(id)) == sizeof(id)) {
		assert_non_null(json_object_get(ids.seen, id));
		told++;
	}
	assert_true(told > ROUNDS);
	/* A writer may have been killed between the record and telling of it. */
	assert_in_range(records, told + 1, told + 1 + ROUNDS * WRITERS);
	assert_int_equal(ids.twice, 0);
	json_decref(ids.seen);
	close(pipe_fds[0]);
}

static void append_many(int count)
{
	for (int i = 0; i < count; i++) {
		struct record r = RECORD_INIT;
		char id[UUID_TEXT_SIZE];

		uuid_new(id);
		r.id = id;
		r.ended_us = 1;
		if (record_append(path, &r, NULL) < 0)
			_exit(1);
	}
	_exit(0);
}

/* As logrotate does it: the file is renamed, and a new one made by who comes next. */
static void many_writers_and_rotation_lose_nothing(void **state)
{
	enum { WRITERS = 8, EACH = 40, ROTATIONS = 10 };
	struct ids ids = {json_object(), 0};
	size_t records = 0;
	uint64_t damaged, damaged_all = 0;
	int status;

	for (int i = 0; i < WRITERS; i++)
		if (fork() == 0)
			append_many(EACH);
	for (int i = 0; i < ROTATIONS; i++) {
		autofree char *old = path_format("%s.%d", path, i);

		usleep(10000);
		rename(path, old);
	}
	for (int i = 0; i < WRITERS; i++) {
		wait(&status);
		assert_int_equal(status, 0);
	}
	for (int i = 0; i <= ROTATIONS; i++) {
		autofree char *old = i < ROTATIONS ? path_format("%s.%d", path, i) : strdup(path);

		if (access(old, F_OK) < 0)
			continue;
		records += read_records(old, &all, keep_id, &ids, &damaged);
		damaged_all += damaged;
	}
	assert_int_equal(records, WRITERS * EACH);
	assert_int_equal(ids.twice, 0);
	assert_int_equal(damaged_all, 0);
	json_decref(ids.seen);
}

#define EACH_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_TEST(record_says_what_the_manual_lists),
		EACH_TEST(what_users_wrote_cannot_break_the_line),
		EACH_TEST(filter_takes_the_records_of_a_time),
		EACH_TEST(torn_line_costs_no_other_record),
		EACH_TEST(what_is_no_record_is_passed_over_and_counted),
		EACH_TEST(bad_places_are_told),
		EACH_TEST(stuck_writer_is_not_waited_for_for_ever),
		EACH_TEST(full_disk_leaves_no_part_of_a_record),
		EACH_TEST(full_file_system_is_told_and_passes),
		EACH_TEST(writers_that_are_killed_lose_nothing_that_was_acknowledged),
		EACH_TEST(many_writers_and_rotation_lose_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
