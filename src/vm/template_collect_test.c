/* Listing and removing templates, and what goes by itself. */
#include "vm/template_sample_test.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "lib/file.h"

#define HOUR 3600

static uint64_t now(void)
{
	return (uint64_t)time(NULL);
}

/* A path below the directory of a template, valid until the next call. */
static const char *file_of(const char *key, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), SAMPLE_DIRECTORY "/%s/%s", key, name);
	return path;
}

static void make(char digit, uint64_t created, unsigned used_kib)
{
	struct error err = {0};

	if (sample_make(sample_key(digit), created, used_kib, &err) < 0)
		fail_msg("%s", err.text);
}

static void collect(uint64_t budget, uint64_t *ret_count)
{
	struct error err = {0};

	if (template_gc(SAMPLE_DIRECTORY, budget, false, ret_count, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

/* Times of change have the kernel's tick as their unit: what happens within one leaves no trace. */
static void pass_a_tick(void)
{
	const struct timespec tick = {.tv_nsec = 20000000};

	nanosleep(&tick, NULL);
}

static void template_in_use_is_not_removed(void **state)
{
	struct template *t = NULL;
	struct error err = {0};
	uint64_t count;

	assert_int_equal(template_remove(SAMPLE_DIRECTORY, sample_key('a'), &err), -ENOENT);
	make('a', now(), 8);
	t = sample_open(sample_key('a'));
	assert_int_equal(template_remove(SAMPLE_DIRECTORY, sample_key('a'), &err), -EBUSY);
	assert_non_null(strstr(err.text, "in use"));
	collect(0, &count);
	assert_int_equal(count, 0);
	assert_true(sample_is_whole(t));
	template_close(t);
	assert_int_equal(template_remove(SAMPLE_DIRECTORY, sample_key('a'), &err), 0);
	assert_int_equal(template_remove(SAMPLE_DIRECTORY, sample_key('a'), &err), -ENOENT);
	assert_int_equal(template_remove(SAMPLE_DIRECTORY, "..", &err), -EINVAL);
	assert_int_equal(sample_count_entries(), 0);
}

/* A clone that runs from a template that is damaged now keeps its files while a new one is made. */
static void damaged_template_in_use_gives_way_and_stays_with_its_user(void **state)
{
	struct template *old = NULL, *new = NULL;
	uint64_t count;

	make('a', now(), 8);
	old = sample_open(sample_key('a'));
	pass_a_tick();
	assert_int_equal(chmod(file_of(sample_key('a'), "state"), 0644), 0);
	make('a', now(), 8);
	new = sample_open(sample_key('a'));
	assert_true(sample_is_whole(new));
	assert_true(sample_is_whole(old));
	collect(UINT64_MAX, &count);
	assert_int_equal(count, 0);
	template_close(old);
	collect(UINT64_MAX, &count);
	assert_int_equal(count, 1);
	assert_int_equal(sample_count_entries(), 1);
	template_close(new);
}

struct seen {
	char keys[16], damaged[16];
	size_t count;
	uint64_t bytes;
};

static int see(const struct template_info *info, void *userdata)
{
	struct seen *seen = userdata;

	seen->keys[seen->count] = info->key[0];
	seen->damaged[seen->count++] = info->damaged[0] ? 'd' : '-';
	seen->bytes += info->bytes;
	return 0;
}

static struct seen list(void)
{
	struct seen seen = {0};
	struct error err = {0};

	if (template_list(SAMPLE_DIRECTORY, see, &seen, &err) != 0)
		fail_msg("%s", err.text);
	return seen;
}

static void use(char digit)
{
	struct template *t AUTO(template_closep) = sample_open(sample_key(digit));

	assert_int_equal(template_record_use(t, 1), 0);
}

static void list_is_sorted_by_last_use(void **state)
{
	struct seen seen = list();

	assert_int_equal(seen.count, 0); /* not even the directory is there */
	make('a', now() - 3 * HOUR, 8);
	make('b', now() - 1 * HOUR, 8);
	make('c', now() - 2 * HOUR, 8);
	make('d', now(), 8);
	assert_int_equal(unlink(file_of(sample_key('d'), "state")), 0);
	seen = list();
	assert_string_equal(seen.keys, "bcad");
	assert_string_equal(seen.damaged, "---d");
	use('a');
	seen = list();
	assert_string_equal(seen.keys, "abcd");
	assert_true(seen.bytes >= 4 * 8 * 1024);
}

static int stop_at_the_second(const struct template_info *info, void *userdata)
{
	int *count = userdata;

	return ++*count == 2 ? 7 : template_remove(SAMPLE_DIRECTORY, info->key, NULL);
}

static void list_is_ended_by_who_looks_at_it(void **state)
{
	int count = 0;

	make('a', now() - 3 * HOUR, 8);
	make('b', now() - 2 * HOUR, 8);
	make('c', now() - 1 * HOUR, 8);
	assert_int_equal(template_list(SAMPLE_DIRECTORY, stop_at_the_second, &count, NULL), 7);
	assert_int_equal(count, 2);
	assert_string_equal(list().keys, "ba");
}

static void least_recently_used_templates_make_room(void **state)
{
	struct template *busy AUTO(template_closep) = NULL;
	uint64_t count, bytes, total;

	make('a', now() - 4 * HOUR, 1024);
	make('b', now() - 3 * HOUR, 1024);
	make('c', now() - 2 * HOUR, 1024);
	make('d', now() - 1 * HOUR, 1024);
	use('a');
	busy = sample_open(sample_key('b'));
	total = list().bytes;
	collect(total, &count);
	assert_int_equal(count, 0);
	/* Room for three and a half: one has to go, and b, the oldest, is in use. */
	assert_int_equal(
		template_gc(SAMPLE_DIRECTORY, total - total / 8, true, &count, &bytes, NULL), 0);
	assert_int_equal(count, 1);
	assert_true(bytes >= 1024 * 1024);
	assert_string_equal(list().keys, "adcb");
	collect(total - total / 8, &count);
	assert_int_equal(count, 1);
	assert_string_equal(list().keys, "adb");
	collect(0, &count);
	assert_int_equal(count, 2);
	assert_string_equal(list().keys, "b");
}

/* What a dead maker, a dead remover and an accident left goes whatever the budget; what lives and
 * what nobody here made stays. */
static void leftovers_are_collected(void **state)
{
	struct template_making *m AUTO(template_make_freep) = NULL;
	uint64_t count;

	make('a', now(), 8);
	make('b', now(), 8);
	make('c', now(), 8);
	make('d', now(), 8);
	assert_int_equal(unlink(file_of(sample_key('b'), "memory")), 0);
	assert_int_equal(rename(SAMPLE_DIRECTORY "/cccccccccccccccccccccccccccccccccccccccc"
						 "cccccccccccccccccccccccc",
				 SAMPLE_DIRECTORY "/dead-0123456789abcdef"),
		0);
	assert_int_equal(rename(SAMPLE_DIRECTORY "/dddddddddddddddddddddddddddddddddddddddd"
						 "dddddddddddddddddddddddd",
				 SAMPLE_DIRECTORY "/making-dddddddddddddddddddddddddddddddddddddddd"
						  "dddddddddddddddddddddddd"),
		0);
	assert_int_equal(mkdir(SAMPLE_DIRECTORY "/mine", 0700), 0);
	assert_int_equal(
		template_make_start(SAMPLE_DIRECTORY, sample_key('e'), false, &m, NULL), 0);
	assert_int_equal(template_gc(SAMPLE_DIRECTORY, UINT64_MAX, true, &count, NULL, NULL), 0);
	assert_int_equal(count, 3);
	assert_int_equal(sample_count_entries(), 6);
	collect(UINT64_MAX, &count);
	assert_int_equal(count, 3);
	assert_string_equal(list().keys, "a");
	assert_int_equal(sample_count_entries(), 3);
	assert_int_equal(template_gc("nowhere", 0, false, &count, NULL, NULL), 0);
	assert_int_equal(count, 0);
}

static void set_date(const char *path, time_t seconds)
{
	const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void failure_counts_for_an_hour(void **state)
{
	autofree char *text = NULL;
	const char *key = sample_key('a'), *path;
	uint64_t count;

	assert_false(template_failed_recently(SAMPLE_DIRECTORY, key, NULL));
	assert_int_equal(template_note_failure(SAMPLE_DIRECTORY, key, "no\033 room"), 0);
	assert_true(template_failed_recently(SAMPLE_DIRECTORY, key, &text));
	assert_string_equal(text, "no? room");
	assert_false(template_failed_recently(SAMPLE_DIRECTORY, sample_key('b'), NULL));
	path = SAMPLE_DIRECTORY
		"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.failed";
	set_date(path, (time_t)now() - TEMPLATE_FAILED_S + 60);
	assert_true(template_failed_recently(SAMPLE_DIRECTORY, key, NULL));
	collect(0, &count);
	assert_int_equal(sample_count_entries(), 1);
	set_date(path, (time_t)now() - TEMPLATE_FAILED_S);
	assert_false(template_failed_recently(SAMPLE_DIRECTORY, key, NULL));
	set_date(path, (time_t)now() + HOUR);
	assert_false(template_failed_recently(SAMPLE_DIRECTORY, key, NULL));
	collect(0, &count);
	assert_int_equal(sample_count_entries(), 0);
	assert_int_equal(template_note_failure(SAMPLE_DIRECTORY, "x/y", "no"), -EINVAL);
}

static void failure_is_forgotten_when_it_works(void **state)
{
	assert_int_equal(template_note_failure(SAMPLE_DIRECTORY, sample_key('a'), "no room"), 0);
	make('a', now(), 8);
	assert_false(template_failed_recently(SAMPLE_DIRECTORY, sample_key('a'), NULL));
	assert_int_equal(sample_count_entries(), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sample_setup, sample_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(template_in_use_is_not_removed),
		TEST(damaged_template_in_use_gives_way_and_stays_with_its_user),
		TEST(list_is_sorted_by_last_use),
		TEST(list_is_ended_by_who_looks_at_it),
		TEST(least_recently_used_templates_make_room),
		TEST(leftovers_are_collected),
		TEST(failure_counts_for_an_hour),
		TEST(failure_is_forgotten_when_it_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
