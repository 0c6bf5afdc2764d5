/* The store's promises to processes that use it at once, or die in it. */
#include "image/sample_test.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define ROUNDS 100

static pid_t start(void (*child)(unsigned seed), unsigned seed)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		child(seed);
		_exit(0);
	}
	return pid;
}

/* Adds images under two tags for as long as it lives. */
static void writer(unsigned seed)
{
	struct store *s = NULL;
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};

	if (store_open("store", true, &s, &err) < 0)
		_exit(1);
	for (;; seed++)
		if (sample_add(s, "crash", seed % 2 ? "odd" : "even", seed, 20000 + seed % 1000,
			    digest, &err) < 0) {
			fprintf(stderr, "writer: %s\n", err.text);
			_exit(1);
		}
}

static int verify_image(const struct image *image, void *userdata)
{
	struct error err = {0};

	if (!image->manifest || store_verify(userdata, image, &err) < 0)
		fail_msg("%s:%s: %s", image->name, image->tag, err.text);
	return 0;
}

/* After any number of writers were killed at any point, every tag stands for a whole image, and the
 * collector leaves what they need and nothing else. */
static void killed_writers_leave_nothing_half_done(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];
	uint64_t files, seen = 0;

	srand((unsigned)getpid());
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct timespec life = {.tv_nsec = rand() % 20000000};
		pid_t pids[2];

		for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
			pids[i] = start(writer, round * 1000 + (unsigned)i * 100000);
		nanosleep(&life, NULL);
		for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
			int status;

			assert_int_equal(kill(pids[i], SIGKILL), 0);
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			assert_true(WIFSIGNALED(status));
		}
		assert_int_equal(store_list(s, verify_image, s, NULL), 0);
		sample_collect(s, &files);
		seen += files;
		assert_int_equal(sample_count_entries("store/tmp"), 0);
		assert_true(sample_count_entries("store/blobs") <= 4);
		assert_int_equal(store_list(s, verify_image, s, NULL), 0);
	}
	assert_true(seen > 0); /* otherwise nobody was killed at work */
	/* How far the killed ones got is the machine's affair; the store is as good as before. */
	assert_int_equal(sample_add(s, "crash", "odd", 1, 20000, digest, NULL), 0);
	assert_int_equal(sample_add(s, "crash", "even", 2, 20000, digest, NULL), 0);
	assert_int_equal(sample_count_entries("store/names/crash"), 2);
	assert_int_equal(store_list(s, verify_image, s, NULL), 0);
}

static void same_content_adder(unsigned seed)
{
	struct store *s = NULL;
	char digest[DIGEST_HEX_SIZE];

	if (store_open("store", true, &s, NULL) < 0)
		_exit(1);
	for (unsigned i = 0; i < 100; i++)
		if (sample_add(s, "same", "1", i, 5000, digest, NULL) < 0)
			_exit(1);
}

static void processes_that_add_the_same_content_do_not_disturb_each_other(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image *image AUTO(image_freep) = NULL;
	uint64_t files;
	pid_t pids[3];

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = start(same_content_adder, 0);
	/* One collects meanwhile: nothing that is being added may go. */
	for (int i = 0; i < 50; i++)
		sample_collect(s, &files);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	image = sample_find(s, "same:1");
	assert_int_equal(store_verify(s, image, NULL), 0);
	assert_int_equal(sample_count_entries("store/tmp"), 0);
}

static void tag_mover(unsigned seed)
{
	char digests[2][DIGEST_HEX_SIZE];
	struct store *s = NULL;

	if (store_open("store", true, &s, NULL) < 0)
		_exit(1);
	if (sample_add(s, "a", "1", 1, 1000, digests[0], NULL) < 0 ||
		sample_add(s, "a", "2", 2, 1000, digests[1], NULL) < 0)
		_exit(1);
	for (unsigned i = 0; i < 1000; i++)
		if (store_tag(s, digests[i % 2], "moving", "latest", NULL) < 0)
			_exit(1);
}

static void a_tag_moves_without_a_gap(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];
	unsigned found[3] = {0};
	int status = -1;
	pid_t pid;

	assert_int_equal(sample_add(s, "moving", "latest", 1, 1000, digest, NULL), 0);
	pid = start(tag_mover, 0);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		struct image *image AUTO(image_freep) = sample_find(s, "moving");

		assert_in_range(image->manifest->created, 1, 2);
		found[image->manifest->created]++;
	}
	assert_int_equal(status, 0);
	assert_true(found[1] > 0 && found[2] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			killed_writers_leave_nothing_half_done, sample_setup, sample_teardown),
		cmocka_unit_test_setup_teardown(
			processes_that_add_the_same_content_do_not_disturb_each_other, sample_setup,
			sample_teardown),
		cmocka_unit_test_setup_teardown(
			a_tag_moves_without_a_gap, sample_setup, sample_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
