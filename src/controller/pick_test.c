#include "depot/pick.h"

#include <errno.h>
#include <fcntl.h>

#include "controller/controller.h"
#include "controller/harness_test.h"
#include "controller/specimen_test.h"
#include "controller/stock.h"
#include "depot/depot.h"
#include "lib/file.h"

#define CHUNK  32768
#define CHUNKS 20
#define SIZE   ((uint64_t)CHUNKS * CHUNK)

static char directory[64];
static struct caibx_chunk chunks[CHUNKS];
static uint8_t content[CHUNKS][CHUNK];
static uint8_t index_id[CHUNK_ID_SIZE];
static char blob[DIGEST_HEX_SIZE], index_digest[DIGEST_HEX_SIZE];

static void put_chunks(struct depot *d)
{
	unsigned int seed = 7;
	struct error err = {0};

	for (size_t i = 0; i < CHUNKS; i++) {
		struct buffer packed AUTO(buffer_done) = {0};

		for (size_t k = 0; k < CHUNK; k++)
			content[i][k] = (uint8_t)rand_r(&seed);
		chunks[i] = (struct caibx_chunk){.offset = i * CHUNK, .size = CHUNK};
		assert_int_equal(chunk_id(content[i], CHUNK, chunks[i].id), 0);
		assert_int_equal(chunk_pack(content[i], CHUNK, &packed), 0);
		assert_int_equal(
			depot_put_chunk(d, chunks[i].id, buffer_head(&packed), packed.len, &err),
			0);
	}
}

static void put_index(struct depot *d)
{
	const struct caibx x = {.size = SIZE,
		.min = CHUNK,
		.average = CHUNK,
		.max = CHUNK,
		.count = CHUNKS,
		.chunks = chunks};
	struct buffer bytes AUTO(buffer_done) = {0};
	struct error err = {0};

	assert_int_equal(digest_bytes(content, sizeof(content), blob), 0);
	assert_int_equal(caibx_format(&x, &bytes), 0);
	assert_int_equal(
		depot_put_index(d, blob, buffer_head(&bytes), bytes.len, index_digest, &err), 0);
	assert_int_equal(digest_parse(index_digest, index_id), 0);
}

/* A depot with one file, which is not in the catalogue. */
static void open_all(void **state)
{
	struct error err = {0};
	struct depot *d;

	harness_open(state);
	snprintf(directory, sizeof(directory), "/tmp/pick-test.XXXXXX");
	assert_non_null(mkdtemp(directory));
	assert_int_equal(depot_open(directory, true, &d, &err), 0);
	assert_int_equal(depot_hold(d, &err), 0);
	put_chunks(d);
	put_index(d);
	depot_release(d);
	harness_controller.depot = d;
	harness_controller.stocks = stocks_new(2);
	assert_non_null(harness_controller.stocks);
}

static void close_all(void)
{
	harness_ask("nobody", "GET /nothing", NULL); /* gives back what the last one has taken */
	harness_controller.stocks = stocks_free(harness_controller.stocks);
	harness_controller.depot = depot_free(harness_controller.depot);
	file_remove_tree(AT_FDCWD, directory);
}

/* The file is all three parts of an image. */
static void catalogue_it(void)
{
	struct image_part parts[3] = {
		{.kind = IMAGE_DISK}, {.kind = IMAGE_KERNEL}, {.kind = IMAGE_INITRD}};
	char indexes[3][DIGEST_HEX_SIZE], digest[DIGEST_HEX_SIZE];
	struct depot *d = harness_controller.depot;

	for (int i = 0; i < 3; i++) {
		parts[i].size = SIZE;
		memcpy(parts[i].digest, blob, DIGEST_HEX_SIZE);
		memcpy(indexes[i], index_digest, DIGEST_HEX_SIZE);
	}
	harness_controller.depot = NULL; /* its manifest is of no interest here */
	assert_int_equal(harness_ask("endorser:eve", "POST /v1/images",
				 specimen_of("el9", parts, indexes, digest)),
		201);
	harness_controller.depot = d;
}

static int ask_as(const char *who, uint32_t bytes, uint8_t wanted[3], struct pick *ret)
{
	struct buffer question AUTO(buffer_done) = {0};

	*ret = (struct pick){.bytes = bytes, .count = CHUNKS, .wanted = wanted};
	memcpy(ret->index, index_id, CHUNK_ID_SIZE);
	assert_int_equal(pick_format(ret, &question), 0);
	return harness_send(who, "POST /depot/pick", buffer_head(&question), question.len);
}

/* Asks for all of `wanted`, and takes what comes out of it. Returns the status. */
static int ask(const char *who, uint32_t bytes, uint8_t wanted[3])
{
	struct pick p;
	struct pick_reader reader = {.pick = &p};
	uint8_t room[CHUNK];
	int status = ask_as(who, bytes, wanted, &p), step = PICK_MORE;
	size_t length, used = 0;
	const uint8_t *data = harness_bytes(&length);

	while (status == 200 && !pick_reader_is_whole(&reader)) {
		step = pick_read(&reader, data, length, &used);
		assert_true(step >= 0);
		data += used;
		length -= used;
		if (step == PICK_CHUNK) {
			const struct pick_row *row = &reader.rows[reader.done - 1];

			assert_int_equal(
				chunk_unpack(chunks[row->chunk].id, buffer_head(&reader.bytes),
					row->length, room, CHUNK, &(struct error){0}),
				0);
			wanted[row->chunk / 8] &= (uint8_t) ~(1U << row->chunk % 8);
		}
	}
	pick_reader_done(&reader);
	return status;
}

static size_t count(const uint8_t wanted[3])
{
	size_t bits = 0;

	for (int i = 0; i < 24; i++)
		bits += wanted[i / 8] >> i % 8 & 1;
	return bits;
}

static void nodes_are_given_each_chunk_once_before_one_twice(void **state)
{
	uint8_t one[3] = {0xff, 0xff, 0x0f}, other[3] = {0xff, 0xff, 0x0f};
	size_t had;

	open_all(state);
	assert_int_equal(ask("node:wn1", 4 * CHUNK, one), 404); /* not in the catalogue */
	catalogue_it();
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(ask("node:wn1", 4 * CHUNK, one), 200);
		assert_int_equal(count(one), CHUNKS - 4 * i);
	}
	/* What the one has not been given, the other one is. */
	assert_int_equal(ask("node:wn2", 8 * CHUNK, other), 200);
	had = count(other);
	for (int i = 0; i < 3; i++)
		other[i] = (uint8_t)((~other[i] & one[i]) | other[i]);
	assert_int_equal(count(other), CHUNKS);
	assert_int_equal(had, CHUNKS - 8);
	close_all();
}

static void only_nodes_may_ask(void **state)
{
	uint8_t wanted[3] = {0xff, 0xff, 0x0f};

	open_all(state);
	catalogue_it();
	assert_int_equal(ask("nobody", CHUNK, wanted), 401);
	assert_int_equal(ask("alice", CHUNK, wanted), 403);
	assert_int_equal(ask("root", CHUNK, wanted), 403);
	assert_int_equal(harness_ask("node:wn1", "GET /depot/pick", NULL), 405);
	assert_int_equal(ask("node:wn1", CHUNK, wanted), 200);
	close_all();
}

static void who_comes_when_all_slots_are_taken_is_told_so(void **state)
{
	uint8_t wanted[3] = {0xff, 0xff, 0x0f};
	int slot;

	open_all(state);
	catalogue_it();
	slot = stocks_take_slot(harness_controller.stocks, "wn8");
	stocks_take_slot(harness_controller.stocks, "wn9");
	assert_int_equal(ask("node:wn1", CHUNK, wanted), 503);
	stocks_give_back_slot(harness_controller.stocks, slot);
	/* Each gives its own back. */
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask("node:wn1", CHUNK, wanted), 200);
	assert_int_equal(count(wanted), CHUNKS - 5);
	close_all();
}

static void what_is_no_pick_is_refused(void **state)
{
	uint8_t wanted[3] = {0};
	struct pick p;

	open_all(state);
	catalogue_it();
	assert_int_equal(harness_send("node:wn1", "POST /depot/pick", "WNP1", 4), 400);
	assert_int_equal(ask_as("node:wn1", CHUNK, wanted, &p), 204); /* nothing is wanted */
	close_all();
}

static void what_is_damaged_is_left_out(void **state)
{
	uint8_t wanted[3] = {0xff, 0xff, 0x0f}, first[3] = {1, 0, 0};
	char path[256], name[CHUNK_PATH_SIZE];

	open_all(state);
	catalogue_it();
	chunk_format_path(chunks[0].id, name);
	snprintf(path, sizeof(path), "%s/chunks/%s", directory, name);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ask("node:wn1", CHUNK, first), 500);
	assert_int_equal(ask("node:wn1", PICK_BYTES_MAX, wanted), 200);
	assert_int_equal(count(wanted), 1);
	assert_int_equal(ask("node:wn1", PICK_BYTES_MAX, wanted), 500);
	assert_int_equal(count(wanted), 1);
	close_all();
}

static void without_a_database_what_is_known_is_given(void **state)
{
	uint8_t wanted[3] = {0xff, 0xff, 0x0f};
	struct sql *db;

	open_all(state);
	catalogue_it();
	db = harness_db;
	harness_db = NULL;
	assert_int_equal(ask("node:wn1", CHUNK, wanted), 404);
	harness_db = db;
	assert_int_equal(ask("node:wn1", CHUNK, wanted), 200);
	harness_db = NULL;
	assert_int_equal(ask("node:wn1", CHUNK, wanted), 200);
	harness_db = db;
	close_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(nodes_are_given_each_chunk_once_before_one_twice),
		HARNESS_TEST(only_nodes_may_ask),
		HARNESS_TEST(who_comes_when_all_slots_are_taken_is_told_so),
		HARNESS_TEST(what_is_no_pick_is_refused),
		HARNESS_TEST(what_is_damaged_is_left_out),
		HARNESS_TEST(without_a_database_what_is_known_is_given),
	};

	return HARNESS_RUN(tests);
}
