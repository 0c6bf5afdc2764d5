#include "depot/depot.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "depot/release.h"
#include "lib/file.h"
#include "lib/path.h"

#define SIZE 20000 /* of a file of two chunks */

struct sample {
	char directory[64];
	struct depot *depot;
	uint8_t data[SIZE];
	char blob[DIGEST_HEX_SIZE];
	struct caibx_chunk chunks[2];
	struct caibx index;
};

static int set_up(void **state)
{
	struct sample *s = calloc(1, sizeof(*s));
	struct error err = {0};

	snprintf(s->directory, sizeof(s->directory), "/tmp/depot_test-XXXXXX");
	if (!mkdtemp(s->directory))
		return -1;
	for (size_t i = 0; i < SIZE; i++)
		s->data[i] = (uint8_t)(i * i >> 7);
	digest_bytes(s->data, SIZE, s->blob);
	s->index = (struct caibx){.size = SIZE,
		.min = 16384,
		.average = 65536,
		.max = 262144,
		.count = 2,
		.chunks = s->chunks};
	s->chunks[0] = (struct caibx_chunk){.offset = 0, .size = 16384};
	s->chunks[1] = (struct caibx_chunk){.offset = 16384, .size = SIZE - 16384};
	for (size_t i = 0; i < 2; i++)
		chunk_id(s->data + s->chunks[i].offset, s->chunks[i].size, s->chunks[i].id);
	*state = s;
	return depot_open(s->directory, true, &s->depot, &err);
}

static int tear_down(void **state)
{
	struct sample *s = *state;

	depot_free(s->depot);
	file_remove_tree(AT_FDCWD, s->directory);
	free(s);
	return 0;
}

static void put_chunk(struct sample *s, size_t i)
{
	struct buffer packed AUTO(buffer_done) = {0};
	struct error err = {0};
	const struct caibx_chunk *c = &s->chunks[i];

	assert_int_equal(chunk_pack(s->data + c->offset, c->size, &packed), 0);
	if (depot_put_chunk(s->depot, c->id, buffer_head(&packed), packed.len, &err) < 0)
		fail_msg("%s", err.text);
}

static int put_index(struct sample *s, char digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct buffer bytes AUTO(buffer_done) = {0};

	assert_int_equal(caibx_format(&s->index, &bytes), 0);
	return depot_put_index(s->depot, s->blob, buffer_head(&bytes), bytes.len, digest, err);
}

static char *manifest_text(const struct sample *s, uint64_t size)
{
	char raw[] = "raw", architecture[] = "x86_64";
	struct manifest m = {.format = raw,
		.architecture = architecture,
		.boot = IMAGE_BOOT_DISK,
		.agent = IMAGE_AGENT_SEED,
		.disk_size = SIZE + 480,
		.part_count = 1};

	m.parts[0] = (struct image_part){.kind = IMAGE_DISK, .size = size};
	memcpy(m.parts[0].digest, s->blob, DIGEST_HEX_SIZE);
	return manifest_format(&m);
}

/* Publishes the sample as an image. */
static void publish(struct sample *s, char digest[DIGEST_HEX_SIZE])
{
	autofree char *text = manifest_text(s, SIZE);
	char index[DIGEST_HEX_SIZE];
	struct error err = {0};

	assert_int_equal(depot_hold(s->depot, &err), 0);
	put_chunk(s, 0);
	put_chunk(s, 1);
	if (put_index(s, index, &err) < 0 ||
		depot_put_manifest(s->depot, text, strlen(text), digest, &err) < 0)
		fail_msg("%s", err.text);
	depot_release(s->depot);
}

static bool exists(const struct sample *s, const char *path)
{
	autofree char *full = path_format("%s/%s", s->directory, path);

	return access(full, F_OK) == 0;
}

static char *chunk_file(const struct sample *s, size_t i)
{
	char path[CHUNK_PATH_SIZE];

	chunk_format_path(s->chunks[i].id, path);
	return path_format("%s/chunks/%s", s->directory, path);
}

static void assert_nothing_temporary(const struct sample *s)
{
	autofree char *path = path_format("%s/tmp", s->directory);

	assert_int_equal(rmdir(path), 0); /* so it was empty */
	assert_int_equal(mkdir(path, 0755), 0);
}

static void a_chunk_has_its_name_only_when_it_is_committed(void **state)
{
	struct sample *s = *state;
	autofree char *path = chunk_file(s, 0);
	uint8_t back[SIZE];
	struct error err = {0};
	struct stat st;

	assert_int_equal(depot_hold(s->depot, &err), 0);
	assert_false(depot_has_chunk(s->depot, s->chunks[0].id));
	put_chunk(s, 0);
	put_chunk(s, 0);
	assert_true(depot_has_chunk(s->depot, s->chunks[0].id));
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(depot_get_chunk(s->depot, s->chunks[0].id, back, 16384, &err), -ENOENT);
	assert_int_equal(depot_commit(s->depot, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	assert_int_equal(depot_get_chunk(s->depot, s->chunks[0].id, back, 16384, &err), 0);
	assert_memory_equal(back, s->data, 16384);
	put_chunk(s, 0);
	assert_nothing_temporary(s);
}

static void what_was_not_committed_is_dropped(void **state)
{
	struct sample *s = *state;
	struct error err = {0};

	assert_int_equal(depot_hold(s->depot, &err), 0);
	put_chunk(s, 0);
	s->depot = depot_free(s->depot);
	assert_nothing_temporary(s);
	assert_int_equal(depot_open(s->directory, true, &s->depot, &err), 0);
	assert_false(depot_has_chunk(s->depot, s->chunks[0].id));
}

static void an_index_needs_its_chunks(void **state)
{
	struct sample *s = *state;
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};

	assert_int_equal(depot_hold(s->depot, &err), 0);
	put_chunk(s, 0);
	assert_int_equal(put_index(s, digest, &err), -ENOENT);
	assert_non_null(strstr(err.text, "chunk 1"));
	assert_int_equal(depot_open_index(s->depot, s->blob), -ENOENT);
	put_chunk(s, 1);
	assert_int_equal(put_index(s, digest, &err), 0);
}

static void a_sound_index_is_never_replaced(void **state)
{
	struct sample *s = *state;
	char first[DIGEST_HEX_SIZE], second[DIGEST_HEX_SIZE];
	struct error err = {0};
	autofree char *path = chunk_file(s, 0);

	assert_int_equal(depot_hold(s->depot, &err), 0);
	put_chunk(s, 0);
	put_chunk(s, 1);
	assert_int_equal(put_index(s, first, &err), 0);
	s->index.average = 81920;
	assert_int_equal(put_index(s, second, &err), 0);
	assert_string_equal(first, second);
	/* One that lacks a chunk is no use to anybody. */
	assert_int_equal(unlink(path), 0);
	put_chunk(s, 0);
	assert_int_equal(put_index(s, second, &err), 0);
	assert_string_equal(first, second);
}

static void a_manifest_needs_its_indexes(void **state)
{
	struct sample *s = *state;
	autofree char *text = manifest_text(s, SIZE), *longer = manifest_text(s, SIZE + 1);
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};

	assert_int_equal(depot_hold(s->depot, &err), 0);
	assert_int_equal(depot_put_manifest(s->depot, text, strlen(text), digest, &err), -ENOENT);
	put_chunk(s, 0);
	put_chunk(s, 1);
	assert_int_equal(put_index(s, digest, &err), 0);
	assert_int_equal(
		depot_put_manifest(s->depot, longer, strlen(longer), digest, &err), -EBADMSG);
	assert_int_equal(depot_put_manifest(s->depot, text, strlen(text), digest, &err), 0);
	assert_int_equal(depot_put_manifest(s->depot, "{}", 2, digest, &err), -EINVAL);
}

static int count_image(const char *digest, void *userdata)
{
	(*(int *)userdata)++;
	return 0;
}

static void a_published_image_is_read_back(void **state)
{
	struct sample *s = *state;
	struct release *release AUTO(release_freep) = NULL;
	struct manifest *m AUTO(manifest_freep) = NULL;
	struct caibx *x AUTO(caibx_freep) = NULL;
	char digest[DIGEST_HEX_SIZE], index[DIGEST_HEX_SIZE];
	struct error err = {0};
	int count = 0;

	publish(s, digest);
	assert_int_equal(depot_list(s->depot, count_image, &count, &err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(depot_get_manifest(s->depot, digest, &m, NULL, &err), 0);
	assert_int_equal(m->parts[0].size, SIZE);
	assert_int_equal(depot_get_index(s->depot, s->blob, NULL, &x, index, &err), 0);
	assert_int_equal(x->count, 2);
	assert_int_equal(release_load(s->depot, digest, "el9", &release, &err), 0);
	assert_string_equal(release->digest, digest);
	assert_string_equal(release_get_part(release, IMAGE_DISK)->index, index);
	assert_int_equal(release_check(release, m, &err), 0);
}

/* Writes a byte into a file that is not to be written. */
static void damage(const char *path)
{
	autoclose int fd = -1;

	assert_int_equal(chmod(path, 0644), 0);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 30), 1);
}

static void damage_is_noticed(void **state)
{
	struct sample *s = *state;
	autofree char *chunk = chunk_file(s, 0), *manifest = NULL, *index = NULL;
	struct manifest *m = NULL;
	struct caibx *x = NULL;
	char digest[DIGEST_HEX_SIZE], index_digest[DIGEST_HEX_SIZE];
	struct depot_garbage garbage;
	struct error err = {0};
	uint8_t back[SIZE];

	publish(s, digest);
	damage(chunk);
	assert_int_equal(depot_get_chunk(s->depot, s->chunks[0].id, back, 16384, &err), -EBADMSG);
	assert_non_null(strstr(err.text, chunk));
	assert_int_equal(depot_get_index(s->depot, s->blob, NULL, &x, index_digest, &err), 0);
	x = caibx_free(x);
	index = path_format("%s/index/%s.caibx", s->directory, s->blob);
	damage(index);
	assert_int_equal(
		depot_get_index(s->depot, s->blob, index_digest, &x, NULL, &err), -EBADMSG);
	manifest = path_format("%s/manifest/%s.json", s->directory, digest);
	damage(manifest);
	assert_int_equal(depot_get_manifest(s->depot, digest, &m, NULL, &err), -EBADMSG);
	/* What an image needs is not known any more. */
	assert_int_equal(depot_collect(s->depot, false, 0, &garbage, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "nothing is removed"));
	assert_true(depot_has_chunk(s->depot, s->chunks[1].id));
}

static void garbage_is_what_no_image_needs(void **state)
{
	struct sample *s = *state;
	char digest[DIGEST_HEX_SIZE];
	struct depot_garbage garbage = {0};
	struct error err = {0};

	publish(s, digest);
	assert_int_equal(depot_collect(s->depot, false, 0, &garbage, &err), 0);
	assert_int_equal(garbage.files, 0);
	assert_int_equal(depot_remove(s->depot, digest, &err), 0);
	assert_int_equal(depot_remove(s->depot, digest, &err), -ENOENT);
	assert_int_equal(depot_collect(s->depot, false, 3600, &garbage, &err), 0);
	assert_int_equal(garbage.files, 0); /* too young */
	assert_int_equal(depot_collect(s->depot, true, 0, &garbage, &err), 0);
	assert_int_equal(garbage.files, 3);
	assert_true(depot_has_chunk(s->depot, s->chunks[0].id));
	assert_int_equal(depot_collect(s->depot, false, 0, &garbage, &err), 0);
	assert_int_equal(garbage.files, 3);
	assert_in_range(garbage.bytes, 1, 3 * SIZE);
	assert_false(depot_has_chunk(s->depot, s->chunks[0].id));
	assert_int_equal(depot_open_index(s->depot, s->blob), -ENOENT);
	publish(s, digest);
}

/* Chunks are there from long ago, as of an image that was removed; of the next that has them the
 * manifest is yet to come. */
static void a_young_index_keeps_old_chunks(void **state)
{
	struct sample *s = *state;
	const struct timespec old[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};
	autofree char *first = chunk_file(s, 0), *second = chunk_file(s, 1);
	struct depot_garbage garbage = {0};
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};

	assert_int_equal(depot_hold(s->depot, &err), 0);
	put_chunk(s, 0);
	put_chunk(s, 1);
	assert_int_equal(put_index(s, digest, &err), 0);
	depot_release(s->depot);
	assert_int_equal(utimensat(AT_FDCWD, first, old, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, second, old, 0), 0);
	assert_int_equal(depot_collect(s->depot, false, 3600, &garbage, &err), 0);
	assert_int_equal(garbage.files, 0);
	assert_true(depot_has_chunk(s->depot, s->chunks[1].id));
	publish(s, digest);
}

static void what_the_killed_have_left_goes_when_nobody_is_at_work(void **state)
{
	struct sample *s = *state;
	struct depot *other AUTO(depot_freep) = NULL;
	struct error err = {0};
	autofree char *left = path_format("%s/tmp/0123456789abcdef.7", s->directory);

	assert_int_equal(depot_open(s->directory, true, &other, &err), 0);
	assert_int_equal(depot_hold(other, &err), 0);
	assert_int_equal(file_replace(AT_FDCWD, left, "x", 1, 0600), 0);
	assert_int_equal(depot_hold(s->depot, &err), 0);
	assert_true(exists(s, "tmp/0123456789abcdef.7"));
	depot_release(s->depot);
	depot_release(other);
	assert_int_equal(depot_hold(s->depot, &err), 0);
	assert_false(exists(s, "tmp/0123456789abcdef.7"));
}

static void what_is_no_digest_is_not_looked_for(void **state)
{
	struct sample *s = *state;
	struct manifest *m = NULL;
	struct caibx *x = NULL;
	struct error err = {0};

	assert_int_equal(depot_open_index(s->depot, "../lock"), -ENOENT);
	assert_int_equal(depot_open_manifest(s->depot, ""), -ENOENT);
	assert_int_equal(depot_get_index(s->depot, "../x", NULL, &x, NULL, &err), -ENOENT);
	assert_int_equal(depot_get_manifest(s->depot, "../x", &m, NULL, &err), -ENOENT);
	assert_int_equal(depot_remove(s->depot, "../lock", &err), -ENOENT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_chunk_has_its_name_only_when_it_is_committed),
		TEST(what_was_not_committed_is_dropped),
		TEST(an_index_needs_its_chunks),
		TEST(a_sound_index_is_never_replaced),
		TEST(a_manifest_needs_its_indexes),
		TEST(a_published_image_is_read_back),
		TEST(damage_is_noticed),
		TEST(garbage_is_what_no_image_needs),
		TEST(a_young_index_keeps_old_chunks),
		TEST(what_the_killed_have_left_goes_when_nobody_is_at_work),
		TEST(what_is_no_digest_is_not_looked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
