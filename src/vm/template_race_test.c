/* The promises of templates to processes that make and use them at once, or die in it. */
#include "vm/template_sample_test.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define ROUNDS     40
#define CALLS_MAX  200
#define WAIT_MS    10000
#define STORM_MS   1500
#define STORM_KEYS 3

/* In a child, death before this call of those below that change something; 0: never. */
static unsigned calls_left;

static void count_call(void)
{
	if (calls_left > 0 && --calls_left == 0)
		raise(SIGKILL);
}

/* These take the place of the C library's. */
int fsync(int fd)
{
	count_call();
	return (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t length)
{
	count_call();
	return (int)syscall(SYS_ftruncate, fd, length);
}

int flock(int fd, int operation)
{
	count_call();
	return (int)syscall(SYS_flock, fd, operation);
}

int mkdirat(int fd, const char *path, mode_t mode)
{
	count_call();
	return (int)syscall(SYS_mkdirat, fd, path, mode);
}

int unlinkat(int fd, const char *path, int flags)
{
	count_call();
	return (int)syscall(SYS_unlinkat, fd, path, flags);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	count_call();
	return (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
}

static pid_t start(int (*child)(unsigned seed), unsigned seed)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		/* A test that fails leaves nobody behind. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(child(seed));
	}
	return pid;
}

/* Returns the exit status, or -1 if it was killed. */
static int finish(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void pause_ms(long ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&pause, NULL);
}

static void assert_only(const char *key)
{
	struct template *t AUTO(template_closep) = NULL;
	struct error err = {0};

	if (template_gc(SAMPLE_DIRECTORY, UINT64_MAX, false, NULL, NULL, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(sample_count_entries(), 1);
	t = sample_open(key);
	assert_true(sample_is_whole(t));
}

static void wait_for_path(const char *path)
{
	for (int ms = 0; access(path, F_OK) < 0; ms++) {
		assert_true(ms < WAIT_MS);
		pause_ms(1);
	}
}

/* A maker that says by a file that it has begun, and goes on when that is gone; exits 0. */
static int slow_maker(unsigned seed)
{
	struct template_making *m = NULL;
	struct template_info info = sample_info();
	FILE *begun;

	if (template_make_start(SAMPLE_DIRECTORY, sample_key('a'), false, &m, NULL) < 0)
		return 1;
	begun = fopen("begun", "w");
	if (!begun || fclose(begun) != 0)
		return 2;
	for (int ms = 0; access("begun", F_OK) == 0 && ms < WAIT_MS; ms++)
		pause_ms(1);
	if (sample_fill(m, 8) < 0 || template_make_commit(m, &info, NULL) < 0)
		return 3;
	template_make_free(m);
	return 0;
}

/* Waits for the other one; exits with the error that it then gets. */
static int waiting_maker(unsigned seed)
{
	struct template_making *m = NULL;
	int r = template_make_start(SAMPLE_DIRECTORY, sample_key('a'), true, &m, NULL);

	if (r >= 0 && sample_fill(m, 8) >= 0) {
		struct template_info info = sample_info();
		r = template_make_commit(m, &info, NULL);
	}
	template_make_free(m);
	return -r;
}

static void second_maker_is_told_or_waits_for_the_first(void **state)
{
	struct template_making *m = NULL;
	pid_t first = start(slow_maker, 0), second;
	struct error err = {0};

	wait_for_path("begun");
	assert_int_equal(template_make_start(SAMPLE_DIRECTORY, sample_key('a'), false, &m, &err),
		-EWOULDBLOCK);
	assert_non_null(strstr(err.text, "another process"));
	assert_int_equal(
		template_make_start(SAMPLE_DIRECTORY, sample_key('b'), false, &m, &err), 0);
	template_make_free(m);
	/* The collector leaves the living alone. */
	assert_int_equal(template_gc(SAMPLE_DIRECTORY, 0, false, NULL, NULL, &err), 0);
	second = start(waiting_maker, 0);
	pause_ms(100);
	assert_int_equal(unlink("begun"), 0);
	assert_int_equal(finish(first), 0);
	assert_int_equal(finish(second), EEXIST);
	assert_only(sample_key('a'));
}

static void waiting_maker_takes_over_from_a_dead_one(void **state)
{
	pid_t first = start(slow_maker, 0), second;

	wait_for_path("begun");
	second = start(waiting_maker, 0);
	pause_ms(100);
	assert_int_equal(kill(first, SIGKILL), 0);
	assert_int_equal(finish(first), -1);
	assert_int_equal(finish(second), 0);
	assert_only(sample_key('a'));
}

static void makers_at_once_make_it_once(void **state)
{
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pids[4];
		int made = 0;

		for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
			pids[i] = start(waiting_maker, (unsigned)i);
		for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
			int r = finish(pids[i]);

			assert_true(r == 0 || r == EEXIST);
			made += r == 0;
		}
		assert_int_equal(made, 1);
		assert_only(sample_key('a'));
		assert_int_equal(template_remove(SAMPLE_DIRECTORY, sample_key('a'), NULL), 0);
	}
}

/* Makes one, replaces it as a damaged one, counts a use, removes it, gives one up, collects. */
static int all_that_changes_something(unsigned calls)
{
	struct template_making *m = NULL;
	struct template *t = NULL;
	const char *key = sample_key('a');

	calls_left = calls;
	if (template_note_failure(SAMPLE_DIRECTORY, key, "no") < 0)
		return 1;
	if (sample_make(key, 1, 8, NULL) < 0)
		return 2;
	if (chmod(SAMPLE_DIRECTORY "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaa/state",
		    0644) < 0 ||
		sample_make(key, 1, 8, NULL) < 0)
		return 3;
	if (template_open(SAMPLE_DIRECTORY, key, &t, NULL) < 0 || template_record_use(t, 1) < 0)
		return 4;
	template_close(t);
	if (template_remove(SAMPLE_DIRECTORY, key, NULL) < 0)
		return 5;
	if (template_make_start(SAMPLE_DIRECTORY, key, false, &m, NULL) < 0)
		return 6;
	template_make_free(m);
	return template_gc(SAMPLE_DIRECTORY, 0, false, NULL, NULL, NULL) < 0 ? 7 : 0;
}

static void death_before_any_call_costs_nothing(void **state)
{
	unsigned deaths = 0;

	for (unsigned calls = 1;; calls++) {
		int status = finish(start(all_that_changes_something, calls));
		struct error err = {0};
		int r;

		if (status == 0)
			break;
		assert_int_equal(status, -1);
		assert_true(++deaths < CALLS_MAX);
		r = sample_make(sample_key('a'), 1, 8, &err);
		if (r < 0 && r != -EEXIST)
			fail_msg("after death before call %u: %s", calls, err.text);
		/* An old note may be there if it was there already. */
		unlink(SAMPLE_DIRECTORY "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
					"aaaaaaaaaaaaaaaaaaaaaaaa.failed");
		assert_only(sample_key('a'));
		assert_int_equal(template_remove(SAMPLE_DIRECTORY, sample_key('a'), NULL), 0);
	}
	assert_true(deaths > 40);
}

/* Uses a template for a moment. Exits with what must not happen. */
static int storm_use(const char *key, unsigned ms, struct error *err)
{
	struct template *t AUTO(template_closep) = NULL;
	struct stat held, named;
	char path[128];
	int r = template_open(SAMPLE_DIRECTORY, key, &t, err);

	if (r < 0)
		return r;
	if (!sample_is_whole(t))
		_exit(101);
	template_record_use(t, 1);
	pause_ms(ms);
	/* What is in use is still in its place. */
	snprintf(path, sizeof(path), SAMPLE_DIRECTORY "/%s", key);
	if (fstat(t->lock_fd, &held) < 0 || stat(path, &named) < 0 || held.st_ino != named.st_ino)
		_exit(102);
	return 0;
}

static int storm_step(unsigned *seed, struct error *err)
{
	const char *key = sample_key("abc"[rand_r(seed) % STORM_KEYS]);
	uint64_t budget = (uint64_t)rand_r(seed) % 65536;
	int r;

	switch (rand_r(seed) % 8) {
	case 0:
		r = template_gc(SAMPLE_DIRECTORY, budget, false, NULL, NULL, err);
		break;
	case 1:
		return template_remove(SAMPLE_DIRECTORY, key, err);
	case 2:
	case 3:
		r = sample_make(key, 1, 8, err);
		break;
	default:
		return storm_use(key, budget % 3, err);
	}
	return r == -ENOENT ? -ENOTRECOVERABLE : r;
}

/* Does at random what processes do to templates, for as long as it lives. Exits with what must not
 * happen. */
static int storm(unsigned seed)
{
	for (;;) {
		struct error err = {0};
		int r = storm_step(&seed, &err);

		/* There is none, there is one, it is in use, another one makes it: all in order. */
		if (r < 0 && r != -ENOENT && r != -EEXIST && r != -EBUSY && r != -EWOULDBLOCK) {
			fprintf(stderr, "storm: %s\n", err.text);
			return 103;
		}
	}
}

static void storm_of_makers_users_removers_and_deaths_breaks_nothing(void **state)
{
	pid_t pids[6];
	unsigned seed = (unsigned)getpid();

	assert_int_equal(sample_make(sample_key('a'), 1, 8, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = start(storm, seed + (unsigned)i);
	for (int ms = 0; ms < STORM_MS; ms += 20) {
		size_t i = (size_t)(ms / 20) % ARRAY_SIZE(pids);

		pause_ms(20);
		assert_int_equal(kill(pids[i], SIGKILL), 0);
		assert_int_equal(finish(pids[i]), -1);
		pids[i] = start(storm, seed + 1000 + (unsigned)ms);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		assert_int_equal(kill(pids[i], SIGKILL), 0);
		assert_int_equal(finish(pids[i]), -1);
	}
	assert_int_equal(template_gc(SAMPLE_DIRECTORY, 0, false, NULL, NULL, NULL), 0);
	assert_int_equal(sample_count_entries(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sample_setup, sample_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(second_maker_is_told_or_waits_for_the_first),
		TEST(waiting_maker_takes_over_from_a_dead_one),
		TEST(makers_at_once_make_it_once),
		TEST(death_before_any_call_costs_nothing),
		TEST(storm_of_makers_users_removers_and_deaths_breaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
