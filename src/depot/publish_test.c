#include "depot/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "image/sample_test.h"

#define SIZE ((size_t)3 * 1024 * 1024 + 5)

static void publish(struct depot *d, const char *reference, struct publish_result *ret)
{
	struct store *store AUTO(store_freep) = sample_open();
	struct image *image AUTO(image_freep) = sample_find(store, reference);
	const struct publish_request request = {
		.store = store, .depot = d, .image = image, .threads = 2};
	struct error err = {0};

	if (publish_image(&request, ret, &err) < 0)
		fail_msg("%s", err.text);
}

static struct depot *new_depot(void)
{
	struct depot *d = NULL;
	struct error err = {0};

	if (depot_open("depot", true, &d, &err) < 0)
		fail_msg("%s", err.text);
	return d;
}

static void add_image(const char *name, unsigned seed)
{
	struct store *store AUTO(store_freep) = sample_open();
	char digest[DIGEST_HEX_SIZE];

	assert_int_equal(sample_add(store, name, "latest", seed, SIZE, digest, NULL), 0);
}

/* Puts the file together from its chunks: is it the blob? */
static void assert_whole(struct depot *d, const struct release_part *part)
{
	struct caibx *x AUTO(caibx_freep) = NULL;
	autofree uint8_t *data = malloc(SIZE);
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};

	assert_int_equal(part->size, SIZE);
	assert_int_equal(depot_get_index(d, part->digest, part->index, &x, NULL, &err), 0);
	for (size_t i = 0; i < x->count; i++)
		if (depot_get_chunk(d, x->chunks[i].id, data + x->chunks[i].offset,
			    x->chunks[i].size, &err) < 0)
			fail_msg("%s", err.text);
	assert_int_equal(digest_bytes(data, SIZE, digest), 0);
	assert_string_equal(digest, part->digest);
}

static void a_published_image_is_whole(void **state)
{
	struct publish_result result AUTO(publish_done) = {0};
	struct depot *d AUTO(depot_freep) = new_depot();

	add_image("a", 1);
	publish(d, "a", &result);
	assert_string_equal(result.release->name, "a");
	assert_int_equal(result.bytes, SIZE);
	assert_true(
		result.chunks > 0 && result.new_chunks > 0 && result.new_chunks <= result.chunks);
	assert_whole(d, release_get_part(result.release, IMAGE_DISK));
}

static void what_is_there_is_not_published_again(void **state)
{
	struct publish_result first AUTO(publish_done) = {0}, second AUTO(publish_done) = {0};
	struct depot *d AUTO(depot_freep) = new_depot();

	add_image("a", 1);
	publish(d, "a", &first);
	publish(d, "a", &second);
	assert_int_equal(second.new_chunks, 0);
	assert_int_equal(second.chunks, 0);
	assert_string_equal(first.release->digest, second.release->digest);
	assert_string_equal(first.release->parts[0].index, second.release->parts[0].index);
}

/* Files are limited to fewer bytes than any chunk has, as by a full disk. */
static void after_a_failure_it_goes_on(void **state)
{
	struct publish_result result AUTO(publish_done) = {0}, failed AUTO(publish_done) = {0};
	const struct rlimit tight = {.rlim_cur = 12, .rlim_max = RLIM_INFINITY};
	const struct rlimit wide = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
	struct depot *d AUTO(depot_freep) = new_depot();
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	struct publish_request request = {.depot = d, .threads = 1};
	struct error err = {0};

	add_image("a", 1);
	request.store = store = sample_open();
	request.image = image = sample_find(store, "a");
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	assert_int_equal(publish_image(&request, &failed, &err), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &wide), 0);
	assert_non_null(strstr(err.text, "cannot publish the disk"));
	assert_null(failed.release);
	publish(d, "a", &result);
	assert_whole(d, release_get_part(result.release, IMAGE_DISK));
}

static void a_damaged_image_is_not_published(void **state)
{
	struct publish_result result = {0};
	struct depot *d AUTO(depot_freep) = new_depot();
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	struct publish_request request = {.depot = d};
	struct error err = {0};
	char path[256];
	autoclose int fd = -1;

	add_image("a", 1);
	request.store = store = sample_open();
	request.image = image = sample_find(store, "a");
	snprintf(path, sizeof(path), "store/blobs/%s", image->manifest->parts[0].digest);
	chmod(path, 0644);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "xyz", 3, 100), 3);
	assert_int_equal(publish_image(&request, &result, &err), -EBADMSG);
	assert_int_equal(depot_open_manifest(d, image->digest), -ENOENT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, sample_setup, sample_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_published_image_is_whole),
		TEST(what_is_there_is_not_published_again),
		TEST(after_a_failure_it_goes_on),
		TEST(a_damaged_image_is_not_published),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
