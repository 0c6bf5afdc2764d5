#include "controller/upload.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>

#include "controller/budget.h"
#include "controller/controller.h"
#include "controller/harness_test.h"
#include "controller/siteclock.h"
#include "controller/specimen_test.h"
#include "depot/depot.h"
#include "lib/file.h"

#define CHUNK  16384
#define CHUNKS 4
#define SIZE   (CHUNK * CHUNKS + 100)

/* A part of an image: its bytes, in chunks. */
struct sample {
	uint8_t bytes[SIZE];
	char digest[DIGEST_HEX_SIZE], index_digest[DIGEST_HEX_SIZE];
	struct buffer pieces, index;
	json_t *ids;
};

static char directory[64];
static struct sample samples[3];

static void add_number(struct buffer *b, uint32_t number)
{
	uint32_t bytes = htole32(number);

	assert_int_equal(buffer_append(b, &bytes, sizeof(bytes)), 0);
}

static void add_piece(struct buffer *b, const uint8_t *id, const void *data, size_t size)
{
	struct buffer packed AUTO(buffer_done) = {0};

	assert_int_equal(chunk_pack(data, size, &packed), 0);
	assert_int_equal(buffer_append(b, id, CHUNK_ID_SIZE), 0);
	add_number(b, (uint32_t)size);
	add_number(b, (uint32_t)packed.len);
	assert_int_equal(buffer_append(b, buffer_head(&packed), packed.len), 0);
}

static void make_sample(struct sample *s, unsigned int seed)
{
	struct caibx_chunk chunks[CHUNKS + 1];
	struct caibx x = {.size = SIZE,
		.min = CHUNK,
		.average = CHUNK,
		.max = CHUNK,
		.count = CHUNKS + 1,
		.chunks = chunks};

	*s = (struct sample){.ids = json_array()};
	for (size_t i = 0; i < SIZE; i++)
		s->bytes[i] = (uint8_t)(i / CHUNK == 1 ? 0 : rand_r(&seed));
	assert_int_equal(digest_bytes(s->bytes, SIZE, s->digest), 0);
	for (size_t i = 0; i <= CHUNKS; i++) {
		char hex[DIGEST_HEX_SIZE];
		struct caibx_chunk *c = &chunks[i];

		c->offset = i * CHUNK;
		c->size = i < CHUNKS ? CHUNK : SIZE % CHUNK;
		assert_int_equal(chunk_id(s->bytes + c->offset, c->size, c->id), 0);
		add_piece(&s->pieces, c->id, s->bytes + c->offset, c->size);
		digest_format(c->id, hex);
		json_array_append_new(s->ids, json_string(hex));
	}
	assert_int_equal(caibx_format(&x, &s->index), 0);
	assert_int_equal(digest_bytes(buffer_head(&s->index), s->index.len, s->index_digest), 0);
}

static void drop_sample(struct sample *s)
{
	buffer_done(&s->pieces);
	buffer_done(&s->index);
	json_decref(s->ids);
}

static void open_all(void **state)
{
	struct error err = {0};

	harness_open(state);
	snprintf(directory, sizeof(directory), "/tmp/upload-test.XXXXXX");
	assert_non_null(mkdtemp(directory));
	if (depot_open(directory, true, &harness_controller.depot, &err) < 0)
		fail_msg("%s", err.text);
	harness_controller.budget = budget_new();
	for (unsigned int i = 0; i < 3; i++)
		make_sample(&samples[i], i);
}

static void close_all(void)
{
	for (int i = 0; i < 3; i++)
		drop_sample(&samples[i]);
	harness_controller.depot = depot_free(harness_controller.depot);
	harness_controller.budget = budget_free(harness_controller.budget);
	file_remove_tree(AT_FDCWD, directory);
}

static int send_pieces(const char *who, const struct sample *s)
{
	return harness_send(who, "POST /v1/depot/chunks", buffer_head(&s->pieces), s->pieces.len);
}

static int send_index(const char *who, const char *blob, const struct buffer *index)
{
	char request[128];

	snprintf(request, sizeof(request), "PUT /v1/depot/index/%s", blob);
	return harness_send(who, request, buffer_head(index), index->len);
}

static int ask_missing(const struct sample *s)
{
	assert_int_equal(
		harness_ask("eve", "POST /v1/depot/missing", json_pack("{s:O}", "chunks", s->ids)),
		200);
	return (int)json_array_size(harness_get("missing"));
}

static json_t *image_of(char digest[DIGEST_HEX_SIZE])
{
	struct image_part parts[3] = {
		{.kind = IMAGE_DISK}, {.kind = IMAGE_KERNEL}, {.kind = IMAGE_INITRD}};
	char indexes[3][DIGEST_HEX_SIZE];

	for (int i = 0; i < 3; i++) {
		parts[i].size = SIZE;
		memcpy(parts[i].digest, samples[i].digest, DIGEST_HEX_SIZE);
		memcpy(indexes[i], samples[i].index_digest, DIGEST_HEX_SIZE);
	}
	return specimen_of("el9", parts, indexes, digest);
}

static int get(const char *where, const char *name, const char *ending)
{
	char request[256];

	snprintf(request, sizeof(request), "GET /depot/%s%s%s", where, name, ending);
	return harness_ask("nobody", request, NULL);
}

static void an_image_is_sent_and_served(void **state)
{
	char digest[DIGEST_HEX_SIZE], chunk[96];

	open_all(state);
	for (int i = 0; i < 3; i++) {
		struct sample *s = &samples[i];

		assert_int_equal(ask_missing(s), i == 0 ? CHUNKS + 1 : CHUNKS);
		assert_int_equal(send_index("endorser:eve", s->digest, &s->index), 409);
		assert_int_equal(
			harness_ask("endorser:eve", "POST /v1/images", image_of(digest)), 409);
		assert_int_equal(send_pieces("endorser:eve", s), 200);
		assert_int_equal(harness_number("taken"), CHUNKS + 1);
		assert_int_equal(send_pieces("endorser:eve", s), 200);
		assert_int_equal(ask_missing(s), 0);
		assert_int_equal(send_index("endorser:eve", s->digest, &s->index), 200);
		assert_int_equal(send_index("endorser:eve", s->digest, &s->index), 200);
		assert_string_equal(harness_text("index"), s->index_digest);
	}
	assert_int_equal(harness_ask("endorser:eve", "POST /v1/images", image_of(digest)), 201);
	assert_int_equal(get("manifest/", digest, ".json"), 200);
	assert_int_equal(get("index/", samples[0].digest, ".caibx"), 200);
	snprintf(chunk, sizeof(chunk), "%.4s/%s",
		json_string_value(json_array_get(samples[0].ids, 0)),
		json_string_value(json_array_get(samples[0].ids, 0)));
	assert_int_equal(get("chunks/", chunk, ".cacnk"), 200);
	close_all();
}

static void what_is_no_file_of_the_depot_is_not_there(void **state)
{
	static const char *const names[] = {
		"manifest/..%2f..%2fetc%2fpasswd",
		"manifest/x.json",
		"index/.caibx",
		"chunks/0000/1111111111111111111111111111111111111111111111111111111111111111.cacnk",
		"chunks/..%2f../11111111111111111111111111111111111111111111111111111111111.cacnk",
		"chunks/1111/1111111111111111111111111111111111111111111111111111111111111111.cacnk",
		"lock",
	};

	open_all(state);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(get("", names[i], ""), 404);
	close_all();
}

static void a_chunk_that_is_not_what_it_says_is_not_taken(void **state)
{
	struct sample *s = &samples[0];
	uint8_t *bytes;

	open_all(state);
	bytes = s->pieces.data + s->pieces.start;
	bytes[0] ^= 1; /* its id */
	assert_int_equal(send_pieces("endorser:eve", s), 400);
	bytes[0] ^= 1;
	bytes[32] ^= 1; /* its size */
	assert_int_equal(send_pieces("endorser:eve", s), 400);
	bytes[32] ^= 1;
	bytes[34] ^= 0x80;
	assert_int_equal(send_pieces("endorser:eve", s), 400);
	bytes[34] ^= 0x80;
	bytes[s->pieces.len - 1] ^= 1; /* the last one's content */
	assert_int_equal(send_pieces("endorser:eve", s), 400);
	bytes[s->pieces.len - 1] ^= 1;
	for (size_t cut = 1; cut < 60; cut++) {
		s->pieces.len -= cut;
		assert_int_equal(send_pieces("endorser:eve", s), 400);
		s->pieces.len += cut;
	}
	/* One that is wrong keeps all of them out. */
	assert_int_equal(ask_missing(s), CHUNKS + 1);
	assert_int_equal(send_pieces("nobody", s), 401);
	assert_int_equal(send_pieces("node:wn1", s), 403);
	assert_int_equal(send_pieces("endorser:eve", s), 200);
	close_all();
}

static void an_index_of_other_bytes_is_not_taken(void **state)
{
	char digest[DIGEST_HEX_SIZE];

	open_all(state);
	for (int i = 0; i < 2; i++)
		assert_int_equal(send_pieces("endorser:eve", &samples[i]), 200);
	assert_int_equal(send_index("endorser:eve", samples[0].digest, &samples[1].index), 400);
	assert_non_null(strstr(harness_error(), samples[1].digest));
	assert_int_equal(get("index/", samples[0].digest, ".caibx"), 404);
	assert_int_equal(send_index("endorser:eve", "..", &samples[1].index), 400);
	samples[0].index.data[samples[0].index.start + 60] ^= 1;
	assert_int_equal(send_index("endorser:eve", samples[0].digest, &samples[0].index), 400);
	samples[0].index.data[samples[0].index.start + 60] ^= 1;
	/* The image names an index that is not the one that is there. */
	assert_int_equal(send_pieces("endorser:eve", &samples[2]), 200);
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			send_index("endorser:eve", samples[i].digest, &samples[i].index), 200);
	memcpy(samples[1].index_digest, samples[0].index_digest, DIGEST_HEX_SIZE);
	assert_int_equal(harness_ask("endorser:eve", "POST /v1/images", image_of(digest)), 400);
	assert_int_equal(harness_count("SELECT count(*) FROM image"), 0);
	assert_int_equal(get("manifest/", digest, ".json"), 404);
	close_all();
}

static void a_user_sends_no_more_than_may_be_published(void **state)
{
	struct controller_settings *s = harness_controller.settings;
	uint64_t size = s->private_size, images = s->private_images;

	open_all(state);
	s->private_size = samples[0].pieces.len + samples[0].index.len;
	assert_int_equal(send_pieces("alice", &samples[0]), 200);
	assert_int_equal(send_index("alice", samples[0].digest, &samples[0].index), 200);
	assert_int_equal(send_pieces("alice", &samples[1]), 403);
	assert_int_equal(send_pieces("endorser:eve", &samples[1]), 200);
	s->private_images = 0;
	assert_int_equal(send_pieces("bob", &samples[2]), 403);
	s->private_size = size;
	s->private_images = images;
	close_all();
}

/* All files of the depot become three days old. */
static void age_depot(void)
{
	char command[160];

	snprintf(command, sizeof(command), "find %s -type f -exec touch -d '3 days ago' {} +",
		directory);
	assert_int_equal(system(command), 0);
}

static void collect(void **state)
{
	harness_controller.settings->database = (char *)(uintptr_t)server_test_url(state);
	harness_controller.settings->depot_keep = UINT64_C(86400) * 1000000;
	assert_int_equal(siteclock_set(harness_db, &(struct error){0}), 0);
	upload_collect(&harness_controller);
}

static void what_ended_long_ago_or_was_never_published_goes(void **state)
{
	char digest[DIGEST_HEX_SIZE];
	char sql[160];

	open_all(state);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send_pieces("endorser:eve", &samples[i]), 200);
		assert_int_equal(
			send_index("endorser:eve", samples[i].digest, &samples[i].index), 200);
	}
	/* What is young may be on its way; what is published stays. */
	collect(state);
	assert_int_equal(ask_missing(&samples[0]), 0);
	assert_int_equal(harness_ask("endorser:eve", "POST /v1/images", image_of(digest)), 201);
	age_depot();
	collect(state);
	assert_int_equal(ask_missing(&samples[0]), 0);
	assert_int_equal(specimen_change("root", digest, "revoke", NULL), 200);
	snprintf(sql, sizeof(sql), "UPDATE image SET state_since = 1 WHERE digest = '%s'", digest);
	assert_true(sql_change_once(harness_db, &(struct error){0}, sql, NULL, 0) == 1);
	collect(state);
	assert_int_equal(get("manifest/", digest, ".json"), 404);
	assert_int_equal(ask_missing(&samples[0]), CHUNKS + 1);
	harness_controller.settings->database = NULL;
	close_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(an_image_is_sent_and_served),
		HARNESS_TEST(what_is_no_file_of_the_depot_is_not_there),
		HARNESS_TEST(a_chunk_that_is_not_what_it_says_is_not_taken),
		HARNESS_TEST(an_index_of_other_bytes_is_not_taken),
		/* The connection for reading is the thread's, so there is one database only. */
		HARNESS_TEST_ON(SQL_SQLITE, what_ended_long_ago_or_was_never_published_goes),
		HARNESS_TEST(a_user_sends_no_more_than_may_be_published),
	};

	return HARNESS_RUN(tests);
}
