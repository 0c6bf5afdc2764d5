/* What nodes ask each other, and answer. The input is a question, one byte that says in which
 * pieces the rest comes, and an answer to it; where it is no question, the answer is to one for
 * all. */
#include <assert.h>

#include "depot/offer.h"
#include "depot/pick.h"

#define COUNT 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t all[COUNT / 8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* What is given is there, asked for, and given once. */
static void check_offer(const struct pick *pick)
{
	uint32_t sizes[COUNT], chunks[PICK_CHUNKS_MAX];
	bool given[COUNT] = {false};
	struct offer *o;
	size_t count;

	for (uint32_t i = 0; i < COUNT; i++)
		sizes[i] = 1 + i * 4096;
	o = offer_new(sizes, COUNT, 1);
	assert(o);
	for (uint32_t i = 0; i < COUNT; i += 2)
		offer_add(o, i, i % 4 == 0);
	count = offer_pick(o, pick, chunks, PICK_CHUNKS_MAX);
	assert(count <= COUNT / 2);
	for (size_t i = 0; i < count; i++) {
		assert(chunks[i] < COUNT && chunks[i] % 2 == 0);
		assert(pick_wants(pick, chunks[i]) && !given[chunks[i]]);
		given[chunks[i]] = true;
	}
	offer_free(o);
}

static void read_answer(const struct pick *pick, const uint8_t *data, size_t size, size_t step)
{
	struct pick_reader r = {.pick = pick};
	size_t used, chunks = 0, total = 0;

	while (size > 0) {
		int result = pick_read(&r, data, MIN_OF(step, size), &used);

		assert(used <= MIN_OF(step, size));
		if (result < 0)
			break;
		assert(result != PICK_MORE || used == MIN_OF(step, size));
		if (result == PICK_CHUNK) {
			chunks++;
			total += r.bytes.len;
			assert(chunks == r.done && r.done <= r.count);
			assert(r.bytes.len == r.rows[r.done - 1].length);
			assert(pick_wants(pick, r.rows[r.done - 1].chunk));
		}
		data += used;
		size -= used;
	}
	assert(total <= PICK_ANSWER_MAX);
	pick_reader_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pick pick = {.bytes = 65536, .count = COUNT, .wanted = all};
	struct buffer again = {0};
	size_t length = MIN_OF(size, PICK_HEAD_SIZE + COUNT / 8), step;

	if (pick_parse(data, length, &pick) == 0) {
		assert(pick_format(&pick, &again) == 0 && again.len == length);
		check_offer(&pick);
	}
	buffer_done(&again);
	if (size <= length)
		return 0;
	step = 1 + data[length];
	read_answer(&pick, data + length + 1, size - length - 1, step);
	return 0;
}
