/* An index of anybody's: what is accepted covers its file without gaps, within the limits, and is
 * written as it was read. */
#include <assert.h>

#include "depot/caibx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const struct caibx *x)
{
	struct buffer first AUTO(buffer_done) = {0}, second AUTO(buffer_done) = {0};
	struct caibx *again AUTO(caibx_freep) = NULL;
	uint64_t end = 0;

	assert(x->min >= CAIBX_CHUNK_MIN && x->max <= CHUNK_SIZE_MAX && x->size <= CAIBX_SIZE_MAX);
	for (size_t i = 0; i < x->count; i++) {
		assert(x->chunks[i].offset == end && x->chunks[i].size > 0);
		assert(x->chunks[i].size <= x->max);
		assert(x->chunks[i].size >= x->min || i + 1 == x->count);
		assert(caibx_find(x, end) == &x->chunks[i]);
		end += x->chunks[i].size;
		assert(caibx_find(x, end - 1) == &x->chunks[i]);
	}
	assert(end == x->size && !caibx_find(x, end));
	assert(caibx_format(x, &first) == 0 && first.len == caibx_length(x));
	assert(caibx_parse(buffer_head(&first), first.len, &again, NULL) == 0);
	assert(caibx_format(again, &second) == 0 && first.len == second.len);
	assert(memcmp(buffer_head(&first), buffer_head(&second), first.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct caibx *x AUTO(caibx_freep) = NULL;
	struct error err = {0};

	if (caibx_parse(data, size, &x, &err) == 0)
		check_accepted(x);
	else
		assert(!x && err.text[0]);
	return 0;
}
