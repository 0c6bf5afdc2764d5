#include "image/partial.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "image/sample_test.h"
#include "lib/file.h"
#include "lib/path.h"

#define TEXT "the content of a part"

static void digest_of(const char *text, char ret[DIGEST_HEX_SIZE])
{
	assert_int_equal(digest_bytes(text, strlen(text), ret), 0);
}

static struct store_partial *open_part(struct store *s, const char *digest)
{
	struct store_partial *p = NULL;
	struct error err = {0};

	if (store_partial_open(s, digest, &p, &err) < 0)
		fail_msg("%s", err.text);
	return p;
}

static bool exists(struct store *s, const char *directory, const char *digest, const char *end)
{
	autofree char *path = path_format("%s/%s/%s%s", store_directory(s), directory, digest, end);

	return access(path, F_OK) == 0;
}

static void what_was_written_is_there_for_the_next(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct store_partial *p;
	char digest[DIGEST_HEX_SIZE], text[sizeof(TEXT)] = "";

	digest_of(TEXT, digest);
	p = open_part(s, digest);
	assert_int_equal(write(store_partial_fd(p), TEXT, 10), 10);
	assert_int_equal(write(store_partial_have_fd(p), "10", 2), 2);
	store_partial_free(p);
	p = open_part(s, digest);
	assert_int_equal(pread(store_partial_fd(p), text, sizeof(text), 0), 10);
	assert_memory_equal(text, TEXT, 10);
	assert_int_equal(pread(store_partial_have_fd(p), text, sizeof(text), 0), 2);
	store_partial_free(p);
}

static void one_at_a_time_works_on_a_part(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct store_partial *p, *other = NULL;
	char digest[DIGEST_HEX_SIZE];

	digest_of(TEXT, digest);
	p = open_part(s, digest);
	assert_int_equal(store_partial_open(s, digest, &other, NULL), -EWOULDBLOCK);
	store_partial_free(p);
	store_partial_free(open_part(s, digest));
}

static void whole_part_becomes_a_blob(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image_part part = {.kind = IMAGE_DISK, .size = strlen(TEXT)};
	static const char text[] = TEXT;
	struct store_partial *p;

	digest_of(TEXT, part.digest);
	p = open_part(s, part.digest);
	assert_int_equal(write(store_partial_fd(p), TEXT, 3), 3);
	assert_int_equal(store_partial_verify(p, part.size, NULL), -EBADMSG);
	assert_int_equal(store_partial_commit(p, part.size, NULL), -EIO);
	assert_false(store_has_part(s, &part));
	assert_int_equal(write(store_partial_fd(p), &text[3], part.size - 3), part.size - 3);
	assert_int_equal(store_partial_verify(p, part.size, NULL), 0);
	assert_int_equal(store_partial_commit(p, part.size, NULL), 0);
	store_partial_free(p);
	assert_true(store_has_part(s, &part));
	assert_false(exists(s, "partial", part.digest, ""));
	assert_false(exists(s, "partial", part.digest, ".have"));
}

/* Whoever waited for the lock has the old file's; it must begin a new one. */
static void who_comes_late_does_not_write_into_a_blob(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image_part part = {.kind = IMAGE_DISK, .size = strlen(TEXT)};
	struct store_partial *p;

	digest_of(TEXT, part.digest);
	p = open_part(s, part.digest);
	assert_int_equal(write(store_partial_fd(p), TEXT, part.size), part.size);
	assert_int_equal(store_partial_commit(p, part.size, NULL), 0);
	store_partial_free(p);
	p = open_part(s, part.digest);
	assert_int_equal(lseek(store_partial_fd(p), 0, SEEK_END), 0);
	assert_int_equal(write(store_partial_fd(p), "no", 2), 2);
	store_partial_free(p);
	assert_true(store_has_part(s, &part));
}

static void what_is_left_of_a_part_that_is_there_is_dropped(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];
	struct store_partial *p;

	digest_of(TEXT, digest);
	p = open_part(s, digest);
	store_partial_drop(s, digest);
	assert_true(exists(s, "partial", digest, ".have"));
	store_partial_free(p);
	store_partial_drop(s, digest);
	assert_int_equal(sample_count_entries("store/partial"), 0);
	store_partial_drop(s, digest);
	assert_int_equal(sample_count_entries("store/partial"), 0);
}

static void set_age(struct store *s, const char *digest, const char *end, time_t age_s)
{
	autofree char *path = path_format("%s/partial/%s%s", store_directory(s), digest, end);
	const struct timespec times[2] = {
		{.tv_sec = time(NULL) - age_s}, {.tv_sec = time(NULL) - age_s}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void collect(struct store *s, bool dry_run, uint64_t files)
{
	uint64_t count, bytes;
	struct error err = {0};

	if (store_collect(s, dry_run, &count, &bytes, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(count, files);
}

static void what_nobody_goes_on_with_is_garbage(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];
	struct store_partial *p;

	digest_of(TEXT, digest);
	p = open_part(s, digest);
	set_age(s, digest, ".have", 1000000);
	collect(s, false, 0); /* at work */
	store_partial_free(p);
	set_age(s, digest, ".have", 3600);
	collect(s, false, 0); /* young */
	assert_true(exists(s, "partial", digest, ""));
	set_age(s, digest, ".have", 1000000);
	collect(s, true, 1);
	assert_true(exists(s, "partial", digest, ""));
	collect(s, false, 1);
	assert_false(exists(s, "partial", digest, ""));
	assert_false(exists(s, "partial", digest, ".have"));
}

static void part_without_its_lock_is_garbage_too(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];
	autofree char *have = NULL;

	digest_of(TEXT, digest);
	store_partial_free(open_part(s, digest));
	have = path_format("%s/partial/%s.have", store_directory(s), digest);
	assert_int_equal(unlink(have), 0);
	collect(s, false, 0);
	set_age(s, digest, "", 1000000);
	collect(s, false, 1);
	assert_false(exists(s, "partial", digest, ""));
}

static void index_goes_with_its_blob(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image *image AUTO(image_freep) = NULL;
	char digest[DIGEST_HEX_SIZE], *text = NULL;
	const char *blob;
	size_t length = 0;
	uint64_t files, bytes;

	assert_int_equal(sample_add(s, "a", "latest", 1, 1000, digest, NULL), 0);
	image = sample_find(s, "a");
	blob = image->manifest->parts[0].digest;
	assert_int_equal(store_put_index(s, blob, "chunks", 6), 0);
	collect(s, false, 0);
	assert_int_equal(store_get_index(s, blob, 100, &text, &length), 0);
	assert_string_equal(text, "chunks");
	free(text);
	assert_int_equal(store_get_index(s, blob, 5, &text, &length), -EFBIG);
	assert_int_equal(store_untag(s, "a", "latest", NULL), 0);
	assert_int_equal(store_collect(s, false, &files, &bytes, NULL), 0);
	assert_int_equal(store_get_index(s, blob, 100, &text, &length), -ENOENT);
}

static void published_manifest_keeps_its_digest(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image *image AUTO(image_freep) = NULL, *again AUTO(image_freep) = NULL;
	autofree char *json = NULL, *longer = NULL;
	char digest[DIGEST_HEX_SIZE];

	assert_int_equal(sample_add(s, "a", "latest", 1, 1000, digest, NULL), 0);
	image = sample_find(s, "a");
	json = manifest_format(image->manifest);
	/* What this version does not know is kept. */
	longer = path_format("{\"zz\": [1], %s\n", json + 1);
	digest_of(longer, digest);
	assert_int_equal(
		store_add_published(s, json, strlen(json), digest, "b", "1", NULL), -EBADMSG);
	assert_int_equal(store_add_published(s, longer, strlen(longer), digest, "b", "1", NULL), 0);
	again = sample_find(s, "b:1");
	assert_string_equal(again->digest, digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_there_for_the_next),
		cmocka_unit_test(one_at_a_time_works_on_a_part),
		cmocka_unit_test(whole_part_becomes_a_blob),
		cmocka_unit_test(who_comes_late_does_not_write_into_a_blob),
		cmocka_unit_test(what_is_left_of_a_part_that_is_there_is_dropped),
		cmocka_unit_test(what_nobody_goes_on_with_is_garbage),
		cmocka_unit_test(part_without_its_lock_is_garbage_too),
		cmocka_unit_test(index_goes_with_its_blob),
		cmocka_unit_test(published_manifest_keeps_its_digest),
	};

	struct CMUnitTest run[ARRAY_SIZE(tests)];

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		run[i] = tests[i];
		run[i].setup_func = sample_setup;
		run[i].teardown_func = sample_teardown;
	}
	return cmocka_run_group_tests(run, NULL, NULL);
}
