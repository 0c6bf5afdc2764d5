#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "image/partial.h"
#include "image/sample_test.h"
#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

static struct error err;

/* An image that this store does not have: its manifest's text, and its disk under `name`. */
static char *make(
	unsigned seed, const char *name, char digest[DIGEST_HEX_SIZE], struct image_part *ret)
{
	struct store *other AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	autofree char *blob = NULL;
	char *text = NULL;
	size_t length;

	assert_int_equal(store_open("other", true, &other, &err), 0);
	assert_int_equal(sample_add(other, "x", "1", seed, 50000, digest, &err), 0);
	image = sample_find(other, "x:1");
	*ret = image->manifest->parts[0];
	blob = path_format("other/blobs/%s", ret->digest);
	file_make_dirs("from", 0700);
	assert_int_equal(rename(blob, name), 0);
	assert_int_equal(store_get_manifest(other, digest, &text, &length, &err), 0);
	return text;
}

static char *ready(const struct image_part *part)
{
	return path_format("from/%s" STORE_READY, part->digest);
}

static int count(const struct kept_image *image, void *userdata)
{
	(*(int *)userdata)++;
	assert_true(image->part_bytes[0] >= 50000 && image->used_us > 0);
	return 0;
}

static int kept(struct store *s)
{
	int n = 0;

	assert_int_equal(store_list_kept(s, count, &n, &err), 0);
	return n;
}

static void adopted_image_is_kept_without_a_tag_until_it_is_let_go(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];
	struct image_part part;
	autofree char *text = make(1, "part", digest, &part), *name = ready(&part);
	struct image *image = NULL;
	struct stat st;
	uint64_t files;

	assert_false(store_has_part(s, &part));
	assert_int_equal(rename("part", name), 0);
	assert_int_equal(store_adopt(s, digest, text, strlen(text), "from", 0400, &err), 0);
	assert_true(store_has_part(s, &part));
	assert_int_equal(sample_count_entries("from"), 0);
	sample_collect(s, &files);
	assert_int_equal(files, 0);
	image = sample_find(s, digest);
	assert_int_equal(image->manifest->created, 1);
	assert_null(image->name);
	base_close(store_open_part(s, &part, &err));
	image_free(image);
	assert_int_equal(kept(s), 1);
	/* Who is not to read it can after all. */
	{
		autofree char *blob = path_format("store/blobs/%s", part.digest);

		assert_int_equal(stat(blob, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0400);
		assert_int_equal(store_adopt(s, digest, text, strlen(text), "from", 0444, &err), 0);
		assert_int_equal(stat(blob, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0444);
		assert_true(store_has_part(s, &part));
	}
	assert_int_equal(store_unkeep(s, digest, &err), 0);
	assert_int_equal(store_unkeep(s, digest, &err), 0);
	assert_int_equal(kept(s), 0);
	sample_collect(s, &files);
	assert_int_equal(files, 2);
	assert_int_equal(store_find(s, digest, &image, &err), -ENOENT);
}

static void half_an_image_is_none(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];
	struct image_part part;
	autofree char *text = make(2, "part", digest, &part), *name = ready(&part);
	struct image *image = NULL;

	assert_int_equal(store_adopt(s, digest, text, strlen(text), "from", 0444, &err), -ENOENT);
	assert_int_equal(store_find(s, digest, &image, &err), -ENOENT);
	assert_int_equal(rename("part", name), 0);
	assert_int_equal(truncate(name, 49999), 0);
	assert_int_equal(store_adopt(s, digest, text, strlen(text), "from", 0444, &err), -EBADMSG);
	assert_int_equal(store_find(s, digest, &image, &err), -ENOENT);
	digest[0] = digest[0] == '0' ? '1' : '0';
	assert_int_equal(store_adopt(s, digest, text, strlen(text), "from", 0444, &err), -EBADMSG);
	assert_int_equal(kept(s), 0);
}

static void one_that_cannot_be_read_is_let_go(void **state)
{
	struct store *s AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];
	uint64_t files;

	memset(digest, 'a', sizeof(digest) - 1);
	digest[sizeof(digest) - 1] = '\0';
	assert_int_equal(store_keep(s, digest, &err), 0);
	assert_int_equal(kept(s), 0);
	sample_collect(s, &files);
	assert_int_equal(sample_count_entries("store/kept"), 0);
	store_note_use(s, digest);
	store_note_use(s, "../lock");
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, sample_setup, sample_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(adopted_image_is_kept_without_a_tag_until_it_is_let_go),
		EACH(half_an_image_is_none),
		EACH(one_that_cannot_be_read_is_let_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
