#include "controller/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "sql/server_test.h"

#include <cmocka.h>

#define THREADS 16

static struct error err;

static const char *make_table(void **state)
{
	const char *url = server_test_url(state);
	struct sql *db AUTO(sql_freep) = NULL;

	if (sql_open(url, &db, &err) < 0 || sql_begin(db, &err) < 0 ||
		sql_script(db, "CREATE TABLE half (name TEXT PRIMARY KEY, note TEXT)", &err) < 0 ||
		sql_commit(db, &err) < 0)
		fail_msg("%s", err.text);
	return url;
}

/* A request that writes two rows, which are there both or not at all. */
struct put {
	struct writer_job job;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	char name[32];
	const char *note;
	int answer; /* of work() */
	int result;
	bool done;
	int calls;
	int (*before)(struct put *p, struct sql *db);
	struct error err;
};

static int put_work(struct writer_job *job, struct sql *db)
{
	struct put *p = (struct put *)(void *)job;
	int r = p->before ? p->before(p, db) : 0;

	p->calls++;

	for (int i = 0; i < 2 && r >= 0; i++)
		r = sql_change(db, NULL,
			"INSERT INTO half (name, note) VALUES (?1 || '-' || ?2, ?3)"
			" ON CONFLICT DO NOTHING",
			sql_text(p->name), sql_text(i ? "b" : "a"), sql_text(p->note));
	return r < 0 ? r : p->answer;
}

static void put_done(struct writer_job *job, int result, const struct error *e)
{
	struct put *p = (struct put *)(void *)job;

	pthread_mutex_lock(&p->lock);
	p->result = result;
	p->err = *e;
	p->done = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

static void put_init(struct put *p, const char *format, int a, int b)
{
	*p = (struct put){.job = {.work = put_work, .done = put_done}};
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	snprintf(p->name, sizeof(p->name), "%s-%d-%d", format, a, b);
}

static int put_await(struct put *p)
{
	pthread_mutex_lock(&p->lock);
	while (!p->done)
		pthread_cond_wait(&p->wake, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return p->result;
}

static bool is_there(struct sql *db, const char *name)
{
	int64_t n = -1;

	assert_int_equal(
		sql_get_number(db, &err, &n,
			"SELECT count(*) FROM half WHERE name = ?1 || '-a' OR name = ?1 || '-b'",
			sql_text(name)),
		1);
	assert_in_range(n, 0, 2);
	assert_int_not_equal(n, 1);
	return n == 2;
}

static void what_is_done_is_kept_and_what_is_refused_is_not(void **state)
{
	const char *url = make_table(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);
	struct writer *w AUTO(writer_freep) = NULL;
	static struct put puts[500];
	struct writer_usage usage;

	assert_int_equal(writer_new(url, &w, &err), 0);
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		put_init(&puts[i], "put", i, 0);
		puts[i].answer = i % 3 == 0 ? -EPERM : 0;
		assert_int_equal(writer_add(w, &puts[i].job), 0);
	}
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		assert_int_equal(put_await(&puts[i]), puts[i].answer);
		assert_int_equal(is_there(db, puts[i].name), i % 3 > 0);
		assert_int_equal(puts[i].err.code, 0);
	}
	writer_get_usage(w, &usage);
	assert_int_equal(usage.queued, 0);
	assert_int_equal(usage.jobs, ARRAY_SIZE(puts));
	assert_in_range(usage.transactions, 2, 250);
	assert_int_equal(usage.retries, 0);
}

static int take_key(struct put *p, struct sql *db)
{
	sql_change(db, NULL, "INSERT INTO half (name) VALUES ('x')");
	return sql_change(db, NULL, "INSERT INTO half (name) VALUES ('x')");
}

static void a_failure_is_its_own_request_s_alone(void **state)
{
	const char *url = make_table(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);
	struct writer *w AUTO(writer_freep) = NULL;
	struct put puts[60];

	assert_int_equal(writer_new(url, &w, &err), 0);
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		put_init(&puts[i], "put", i, 0);
		puts[i].before = i % 2 ? take_key : NULL;
		assert_int_equal(writer_add(w, &puts[i].job), 0);
	}
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		assert_int_equal(put_await(&puts[i]), i % 2 ? -EEXIST : 0);
		assert_int_equal(is_there(db, puts[i].name), i % 2 == 0);
	}
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM half WHERE name = 'x'"), 0);
}

static int take_key_later(struct put *p, struct sql *db)
{
	sql_change_later(db, NULL, "INSERT INTO half (name) VALUES ('x')");
	return sql_change_later(db, NULL, "INSERT INTO half (name) VALUES ('x')");
}

/* What is not waited for may fail in the next request's place: then each is done alone. */
static void a_failure_is_found_wherever_it_shows(void **state)
{
	const char *url = make_table(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);
	struct writer *w AUTO(writer_freep) = NULL;
	struct put puts[12];

	assert_int_equal(writer_new(url, &w, &err), 0);
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		put_init(&puts[i], "put", i, 0);
		puts[i].before = i % 4 == 3 ? take_key_later : NULL;
		assert_int_equal(writer_add(w, &puts[i].job), 0);
	}
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		assert_int_equal(put_await(&puts[i]), i % 4 == 3 ? -EEXIST : 0);
		assert_int_equal(is_there(db, puts[i].name), i % 4 != 3);
	}
}

static int fail_serialisation(struct put *p, struct sql *db)
{
	if (p->calls > 0)
		return 0;
	return sql_change_once(db, NULL, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", NULL, 0);
}

static void what_may_work_the_next_time_is_done_again(void **state)
{
	const char *url = make_table(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);
	struct writer *w AUTO(writer_freep) = NULL;
	struct put puts[3];

	assert_int_equal(writer_new(url, &w, &err), 0);
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		put_init(&puts[i], "put", i, 0);
		puts[i].before = i == 1 ? fail_serialisation : NULL;
		assert_int_equal(writer_add(w, &puts[i].job), 0);
	}
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		assert_int_equal(put_await(&puts[i]), 0);
		assert_true(is_there(db, puts[i].name));
	}
	assert_int_equal(puts[1].calls, 2);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static int wait_for_gate(struct put *p, struct sql *db)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return 0;
}

static void the_queue_has_an_end_and_is_done_at_the_end(void **state)
{
	const char *url = make_table(state);
	struct writer *w = NULL;
	static struct put puts[6000];
	int n = 0;

	assert_int_equal(writer_new(url, &w, &err), 0);
	pthread_mutex_lock(&gate);
	for (; n < (int)ARRAY_SIZE(puts); n++) {
		put_init(&puts[n], "put", n, 0);
		puts[n].before = n == 0 ? wait_for_gate : NULL;
		if (writer_add(w, &puts[n].job) == -EBUSY)
			break;
	}
	assert_in_range(n, 1000, ARRAY_SIZE(puts) - 1);
	pthread_mutex_unlock(&gate);
	writer_free(w);
	for (int i = 0; i < n; i++)
		assert_int_equal(puts[i].done ? puts[i].result : -1, 0);
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM half"), 2 * n);
}

/* What many threads have written. */
struct load {
	struct writer *writer;
	const char *name;
	int rounds;
	int report_fd; /* names are written to it as they are done; -1: none */
	atomic_int next, kept, lost;
	atomic_bool end;
};

struct report {
	char name[32];
};

static void *run_load(void *userdata)
{
	struct load *l = userdata;
	int thread = atomic_fetch_add(&l->next, 1);
	struct report report;

	for (int i = 0; i < l->rounds && !l->end; i++) {
		struct put p;

		put_init(&p, l->name, thread, i);
		memcpy(report.name, p.name, sizeof(report.name));
		if (writer_add(l->writer, &p.job) < 0)
			break;
		if (put_await(&p) == 0) {
			atomic_fetch_add(&l->kept, 1);
			if (l->report_fd >= 0 &&
				write(l->report_fd, &report, sizeof(report)) != sizeof(report))
				break;
		} else {
			atomic_fetch_add(&l->lost, 1);
		}
	}
	return NULL;
}

static void start_load(struct load *l, pthread_t *threads, int count)
{
	for (int i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, run_load, l);
}

static void end_load(pthread_t *threads, int count)
{
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

static void many_threads_may_write(void **state)
{
	const char *url = make_table(state);
	struct writer *w AUTO(writer_freep) = NULL;
	struct load load = {.name = "load", .rounds = 30, .report_fd = -1};
	pthread_t threads[64];

	assert_int_equal(writer_new(url, &w, &err), 0);
	load.writer = w;
	start_load(&load, threads, ARRAY_SIZE(threads));
	end_load(threads, ARRAY_SIZE(threads));
	assert_int_equal(load.kept, 64 * 30);
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM half"), 2 * 64 * 30);
}

/* Of a controller, in a process of its own. */
static void run_child(const char *url, const char *name, int rounds, int report_fd)
{
	struct load load = {.name = name, .rounds = rounds, .report_fd = report_fd};
	pthread_t threads[THREADS];

	if (writer_new(url, &load.writer, &err) < 0)
		_exit(1);
	start_load(&load, threads, THREADS);
	end_load(threads, THREADS);
	writer_free(load.writer);
	_exit(load.kept == THREADS * rounds ? 0 : 2);
}

static void two_processes_may_write(void **state)
{
	const char *url = make_table(state);
	pid_t pids[2];

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			run_child(url, i ? "two" : "one", 20, -1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(
		server_test_number(url, "SELECT count(*) FROM half"), 2 * 2 * THREADS * 20);
}

/* Everything of which was said that it is kept is there, and nothing by half. */
static int check_reports(const char *url, int fd)
{
	struct sql *db AUTO(sql_freep) = server_test_open(url);
	struct report report;
	int n = 0;

	for (; read(fd, &report, sizeof(report)) == sizeof(report); n++)
		assert_true(is_there(db, report.name));
	return n;
}

static int64_t count_halves(const char *url)
{
	return server_test_number(url,
		"SELECT count(*) FROM (SELECT substr(name, 1, length(name) - 2) AS whole FROM half"
		" GROUP BY substr(name, 1, length(name) - 2) HAVING count(*) <> 2) AS halves");
}

static void a_killed_controller_has_kept_what_it_said(void **state)
{
	const char *url = make_table(state);
	int reports = 0;

	for (int round = 0; round < 8; round++) {
		char name[8];
		int status, pipes[2];
		pid_t pid;

		assert_int_equal(pipe(pipes), 0);
		fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20);
		snprintf(name, sizeof(name), "r%d", round);
		pid = fork();
		if (pid == 0)
			run_child(url, name, 100000, pipes[1]);
		close(pipes[1]);
		usleep((useconds_t)(60000 + 17000 * round));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		reports += check_reports(url, pipes[0]);
		assert_int_equal(count_halves(url), 0);
		close(pipes[0]);
	}
	assert_true(reports > 0);
}

static void a_server_that_is_killed_under_load_loses_nothing(void **state)
{
	const char *url = make_table(state);
	struct writer *w AUTO(writer_freep) = NULL;
	struct load load = {.name = "load", .rounds = 1000000};
	pthread_t threads[THREADS];
	struct writer_usage usage;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20);
	load.report_fd = pipes[1];
	assert_int_equal(writer_new(url, &w, &err), 0);
	load.writer = w;
	start_load(&load, threads, THREADS);
	for (int i = 0; i < 2; i++) {
		int before = load.kept;

		usleep(200000);
		server_test_kill();
		server_test_start();
		for (int n = 0; n < 500 && load.kept == before; n++)
			usleep(10000);
	}
	usleep(200000);
	load.end = true;
	end_load(threads, THREADS);
	close(pipes[1]);
	assert_int_equal(check_reports(url, pipes[0]), load.kept);
	assert_int_equal(count_halves(url), 0);
	close(pipes[0]);
	writer_get_usage(w, &usage);
	assert_true(usage.retries > 0);
	assert_true(load.kept > 0);
}

#ifdef HAVE_LIBPQ
/* Soon, so that clients ask another controller. */
static void without_a_server_requests_are_refused(void **state)
{
	struct writer *w AUTO(writer_freep) = NULL;
	static struct put puts[600];
	uint64_t start = clock_now_us();

	assert_int_equal(writer_new("postgresql://me@/site?host=/nowhere", &w, &err), 0);
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		put_init(&puts[i], "put", i, 0);
		assert_int_equal(writer_add(w, &puts[i].job), 0);
	}
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		assert_int_equal(put_await(&puts[i]), -ENOTCONN);
		assert_true(puts[i].err.text[0]);
		assert_int_equal(puts[i].calls, 0);
	}
	assert_true(clock_now_us() - start < 15000000);
	/* It is known to be down. */
	start = clock_now_us();
	put_init(&puts[0], "again", 0, 0);
	assert_int_equal(writer_add(w, &puts[0].job), 0);
	assert_int_equal(put_await(&puts[0]), -ENOTCONN);
	assert_true(clock_now_us() - start < 3000000);
}
#endif

static void a_full_disk_refuses_what_is_too_large(void **state)
{
	static char large[1 << 20];
	static struct put puts[20];
	const char *url = server_test_url(state);
	struct writer *w AUTO(writer_freep) = NULL;
	struct sql *db AUTO(sql_freep) = NULL;

	if (!server_test_limit(1024)) {
		print_message("a small file system needs root\n");
		skip();
	}
	make_table(state);
	db = server_test_open(url);
	memset(large, 'x', sizeof(large) - 1);
	assert_int_equal(writer_new(url, &w, &err), 0);
	pthread_mutex_lock(&gate);
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		put_init(&puts[i], "put", i, 0);
		puts[i].before = i == 0 ? wait_for_gate : NULL;
		puts[i].note = i == 10 ? large : NULL;
		assert_int_equal(writer_add(w, &puts[i].job), 0);
	}
	pthread_mutex_unlock(&gate);
	for (int i = 0; i < (int)ARRAY_SIZE(puts); i++) {
		assert_int_equal(put_await(&puts[i]), i == 10 ? -ENOSPC : 0);
		assert_int_equal(is_there(db, puts[i].name), i != 10);
	}
	assert_non_null(strstr(puts[10].err.text, "make room"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(what_is_done_is_kept_and_what_is_refused_is_not),
		SERVER_TEST(a_failure_is_its_own_request_s_alone),
		SERVER_TEST(a_failure_is_found_wherever_it_shows),
		SERVER_TEST_ON(SQL_POSTGRES, what_may_work_the_next_time_is_done_again),
		SERVER_TEST(the_queue_has_an_end_and_is_done_at_the_end),
		SERVER_TEST(many_threads_may_write),
		SERVER_TEST(two_processes_may_write),
		SERVER_TEST(a_killed_controller_has_kept_what_it_said),
		SERVER_TEST_ON(SQL_POSTGRES, a_server_that_is_killed_under_load_loses_nothing),
#ifdef HAVE_LIBPQ
		cmocka_unit_test(without_a_server_requests_are_refused),
#endif
		SERVER_TEST_ON(SQL_SQLITE, a_full_disk_refuses_what_is_too_large),
	};

	log_set("writer_test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, server_test_up, server_test_down);
}
