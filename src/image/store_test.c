#include "image/store.h"

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

static void add(struct store *s, const char *name, const char *tag, unsigned seed,
	char digest[DIGEST_HEX_SIZE])
{
	struct error err = {0};

	if (sample_add(s, name, tag, seed, 100000, digest, &err) < 0)
		fail_msg("%s", err.text);
}

static void references_are_name_and_tag(void **state)
{
	static const struct {
		const char *text, *name, *tag;
	} good[] = {
		{"a", "a", "latest"},
		{"el9", "el9", "latest"},
		{"el9:2026-11", "el9", "2026-11"},
		{"0.x_y-z:1", "0.x_y-z", "1"},
	};
	static const char *const bad[] = {"", ":", "a:", ":a", "A", "a/b", "..", ".a", "-a", "a:.b",
		"a:b:c", "a b", "a\n", "\xc3\xa9",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		autofree char *name = NULL, *tag = NULL;

		assert_int_equal(store_parse_reference(good[i].text, &name, &tag, NULL), 0);
		assert_string_equal(name, good[i].name);
		assert_string_equal(tag, good[i].tag);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char *name = NULL, *tag = NULL;

		if (store_parse_reference(bad[i], &name, &tag, NULL) != -EINVAL)
			fail_msg("accepted: '%s'", bad[i]);
	}
}

static void an_image_is_found_by_name_and_by_digest(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE], prefix[9] = "";

	add(s, "debian", "latest", 1, digest);
	for (int i = 0; i < 3; i++) {
		struct image *image AUTO(image_freep) = NULL;

		memcpy(prefix, digest, 8);
		image = sample_find(s, i == 0 ? "debian" : i == 1 ? "debian:latest" : prefix);
		assert_string_equal(image->digest, digest);
		assert_int_equal(image->manifest->created, 1);
		assert_true(i == 2 ? !image->name && !image->tag : streq(image->name, "debian"));
	}
}

static void what_is_not_there_is_named_with_what_is(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];
	struct image *image = NULL;
	struct error err = {0};

	assert_int_equal(store_find(s, "debian", &image, &err), -ENOENT);
	assert_non_null(strstr(err.text, "wnodes image build"));
	add(s, "el9", "1", 1, digest);
	add(s, "el9", "2", 2, digest);
	assert_int_equal(store_find(s, "el9", &image, &err), -ENOENT);
	assert_non_null(strstr(err.text, "el9:1, el9:2"));
	assert_int_equal(store_find(s, "ffffffff", &image, &err), -ENOENT);
	assert_int_equal(store_untag(s, "el9", "3", &err), -ENOENT);
	assert_null(image);
}

static void two_images_whose_digests_begin_alike_are_not_mixed_up(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char a[DIGEST_HEX_SIZE], b[DIGEST_HEX_SIZE];
	struct image *image AUTO(image_freep) = NULL;

	add(s, "a", "1", 1, a);
	add(s, "b", "1", 2, b);
	/* The tags are pointed at digests that differ in their last digit only. */
	memcpy(b, a, sizeof(b));
	b[63] = a[63] == '0' ? '1' : '0';
	assert_int_equal(file_replace(AT_FDCWD, "store/names/b/1", b, 64, 0644), 0);
	a[8] = '\0';
	assert_int_equal(store_find(s, a, &image, NULL), -EINVAL);
}

static void an_opened_part_is_the_content_that_was_added(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image_part part = {.kind = IMAGE_DISK};
	char text[16] = "";
	autoclose int fd = -1;

	assert_int_equal(sample_put(s, "content", 7, &part), 0);
	assert_int_equal(part.size, 7);
	fd = store_open_part(s, &part, NULL);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, sizeof(text)), 7);
	assert_string_equal(text, "content");
	assert_int_equal(write(fd, "x", 1), -1);
}

static char *blob_path(const struct image_part *part)
{
	return path_format("store/blobs/%s", part->digest);
}

static void change_blob(const struct image_part *part, const char *data)
{
	autofree char *path = blob_path(part);
	int fd;

	assert_int_equal(chmod(path, 0644), 0);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, strlen(data)), strlen(data));
	close(fd);
}

static void a_damaged_part_is_not_opened(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image_part part = {.kind = IMAGE_DISK};
	struct error err = {0};

	assert_int_equal(sample_put(s, "content", 7, &part), 0);
	change_blob(&part, "cOntent");
	assert_int_equal(store_open_part(s, &part, &err), -EBADMSG);
	assert_non_null(strstr(err.text, part.digest));
	/* It stays damaged the second time, and is sound again when it is repaired. */
	assert_int_equal(store_open_part(s, &part, NULL), -EBADMSG);
	change_blob(&part, "content");
	assert_true(base_close(store_open_part(s, &part, NULL)) == -1);
	change_blob(&part, "content and more");
	assert_int_equal(store_open_part(s, &part, NULL), -EBADMSG);
}

static void an_untouched_part_is_not_read_again(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image_part part = {.kind = IMAGE_DISK};
	autofree char *path = NULL;
	struct stat before, after;
	int fd;

	assert_int_equal(sample_put(s, "content", 7, &part), 0);
	path = path_format("store/checked/%s", part.digest);
	assert_int_equal(stat(path, &before), 0);
	fd = store_open_part(s, &part, NULL);
	assert_true(fd >= 0);
	close(fd);
	/* The note would have been written anew if the content had been hashed. */
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void adding_content_again_repairs_a_damaged_blob(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image_part part = {.kind = IMAGE_DISK};
	int fd;

	assert_int_equal(sample_put(s, "content", 7, &part), 0);
	change_blob(&part, "cOntent");
	assert_int_equal(sample_put(s, "content", 7, &part), 0);
	fd = store_open_part(s, &part, NULL);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(sample_count_entries("store/tmp"), 0);
}

static void verify_finds_every_kind_of_damage(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image *image AUTO(image_freep) = NULL;
	autofree char *path = NULL;
	char digest[DIGEST_HEX_SIZE];
	struct stat st;
	struct timespec times[2];

	add(s, "a", "1", 1, digest);
	image = sample_find(s, "a:1");
	assert_int_equal(store_verify(s, image, NULL), 0);
	/* Damage below the file system leaves the inode's times as they are, or nearly. */
	path = blob_path(&image->manifest->parts[0]);
	assert_int_equal(stat(path, &st), 0);
	change_blob(&image->manifest->parts[0], "x");
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	assert_int_equal(store_verify(s, image, NULL), -EBADMSG);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(store_verify(s, image, NULL), -EBADMSG);
}

static void a_damaged_manifest_is_an_error_and_blocks_the_collector(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image *image = NULL;
	struct image_part part = {0};
	char digest[DIGEST_HEX_SIZE];
	uint64_t files, bytes;
	struct error err = {0};

	add(s, "a", "1", 1, digest);
	memcpy(part.digest, digest, sizeof(digest));
	change_blob(&part, "{\"x\":");
	assert_int_equal(store_find(s, "a:1", &image, &err), -EBADMSG);
	assert_null(image);
	/* Its parts may be all that is left of it. */
	assert_int_equal(store_collect(s, false, &files, &bytes, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "a:1"));
	assert_int_equal(sample_count_entries("store/blobs"), 2);
	assert_int_equal(store_untag(s, "a", "1", NULL), 0);
	sample_collect(s, &files);
	assert_int_equal(files, 2);
}

static void an_image_without_its_parts_is_not_added(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image *image AUTO(image_freep) = NULL;
	char digest[DIGEST_HEX_SIZE];
	autofree char *path = NULL;

	add(s, "a", "1", 1, digest);
	image = sample_find(s, "a:1");
	path = blob_path(&image->manifest->parts[0]);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(store_add(s, image->manifest, "b", "1", digest, NULL), -ENOENT);
	assert_int_equal(access("store/names/b", F_OK), -1);
}

static void collect_keeps_what_a_tag_reaches_and_nothing_else(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct image *image AUTO(image_freep) = NULL;
	char first[DIGEST_HEX_SIZE], second[DIGEST_HEX_SIZE];
	uint64_t files, bytes;

	add(s, "a", "1", 1, first);
	add(s, "a", "2", 2, second);
	assert_int_equal(store_tag(s, first, "b", "latest", NULL), 0);
	assert_int_equal(store_untag(s, "a", "1", NULL), 0);
	sample_collect(s, &files);
	assert_int_equal(files, 0);
	assert_int_equal(store_untag(s, "a", "2", NULL), 0);
	assert_int_equal(access("store/names/a", F_OK), -1);
	assert_int_equal(store_collect(s, true, &files, &bytes, NULL), 0);
	assert_int_equal(files, 2);
	assert_true(bytes >= 100000);
	assert_int_equal(sample_count_entries("store/blobs"), 4);
	sample_collect(s, &files);
	assert_int_equal(files, 2);
	assert_int_equal(sample_count_entries("store/blobs"), 2);
	assert_int_equal(sample_count_entries("store/checked"), 2);
	image = sample_find(s, "b");
	assert_int_equal(store_verify(s, image, NULL), 0);
}

static void collect_leaves_uploads_at_work_alone(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct store *other AUTO(store_freep) = sample_open();
	struct store_upload *u AUTO(store_upload_freep) = NULL;
	struct image_part part = {0};
	uint64_t files;

	assert_int_equal(store_upload_open(s, &u, NULL), 0);
	assert_int_equal(file_write_all(store_upload_fd(u), "x", 1), 0);
	sample_collect(other, &files);
	assert_int_equal(files, 0);
	assert_int_equal(store_upload_commit(u, &part, NULL), 0);
}

static void an_upload_that_is_dropped_leaves_nothing(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct store_upload *u = NULL;

	assert_int_equal(store_upload_open(s, &u, NULL), 0);
	assert_int_equal(sample_count_entries("store/tmp"), 1);
	u = store_upload_free(u);
	assert_int_equal(sample_count_entries("store/tmp"), 0);
	assert_int_equal(sample_count_entries("store/blobs"), 0);
}

static void the_next_upload_removes_what_a_killed_one_left(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct store_upload *u AUTO(store_upload_freep) = NULL;

	assert_int_equal(file_replace(AT_FDCWD, "store/tmp/upload-dead", "x", 1, 0600), 0);
	assert_int_equal(store_upload_open(s, &u, NULL), 0);
	assert_int_equal(access("store/tmp/upload-dead", F_OK), -1);
	assert_int_equal(sample_count_entries("store/tmp"), 1);
}

static void a_file_put_in_an_uploads_place_is_refused(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct store_upload *u AUTO(store_upload_freep) = NULL;
	struct image_part part = {0};

	assert_int_equal(store_upload_open(s, &u, NULL), 0);
	assert_int_equal(file_replace(AT_FDCWD, store_upload_path(u), "other", 5, 0644), 0);
	assert_int_equal(store_upload_commit(u, &part, NULL), -EIO);
}

static int count_image(const struct image *image, void *userdata)
{
	char *seen = userdata;

	strcat(seen, image->name);
	strcat(seen, image->tag);
	strcat(seen, " ");
	return streq(image->name, "stop") ? 7 : 0;
}

static void list_is_sorted_and_can_be_stopped(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE], seen[100] = "";

	add(s, "zed", "1", 1, digest);
	add(s, "stop", "1", 1, digest);
	add(s, "b", "2", 1, digest);
	add(s, "b", "1", 1, digest);
	assert_int_equal(store_list(s, count_image, seen, NULL), 7);
	assert_string_equal(seen, "b1 b2 stop1 ");
}

static void a_store_that_is_not_writable_is_only_read(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	struct store *reader AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	struct store_upload *u = NULL;
	char digest[DIGEST_HEX_SIZE];
	int fd;

	assert_int_equal(store_open("store/none", false, &reader, NULL), -ENOENT);
	assert_int_equal(access("store/none", F_OK), -1);
	add(s, "a", "1", 1, digest);
	assert_int_equal(store_open("store", false, &reader, NULL), 0);
	image = sample_find(reader, "a:1");
	fd = store_open_part(reader, &image->manifest->parts[0], NULL);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(store_upload_open(reader, &u, NULL), -EROFS);
	assert_int_equal(store_tag(reader, digest, "b", "1", NULL), -EROFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references_are_name_and_tag),
		cmocka_unit_test(an_image_is_found_by_name_and_by_digest),
		cmocka_unit_test(what_is_not_there_is_named_with_what_is),
		cmocka_unit_test(two_images_whose_digests_begin_alike_are_not_mixed_up),
		cmocka_unit_test(an_opened_part_is_the_content_that_was_added),
		cmocka_unit_test(a_damaged_part_is_not_opened),
		cmocka_unit_test(an_untouched_part_is_not_read_again),
		cmocka_unit_test(adding_content_again_repairs_a_damaged_blob),
		cmocka_unit_test(verify_finds_every_kind_of_damage),
		cmocka_unit_test(a_damaged_manifest_is_an_error_and_blocks_the_collector),
		cmocka_unit_test(an_image_without_its_parts_is_not_added),
		cmocka_unit_test(collect_keeps_what_a_tag_reaches_and_nothing_else),
		cmocka_unit_test(collect_leaves_uploads_at_work_alone),
		cmocka_unit_test(an_upload_that_is_dropped_leaves_nothing),
		cmocka_unit_test(the_next_upload_removes_what_a_killed_one_left),
		cmocka_unit_test(a_file_put_in_an_uploads_place_is_refused),
		cmocka_unit_test(list_is_sorted_and_can_be_stopped),
		cmocka_unit_test(a_store_that_is_not_writable_is_only_read),
	};
	struct CMUnitTest run[ARRAY_SIZE(tests)];

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		run[i] = tests[i];
		run[i].setup_func = sample_setup;
		run[i].teardown_func = sample_teardown;
	}
	return cmocka_run_group_tests(run, NULL, NULL);
}
