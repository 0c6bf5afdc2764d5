/* A table of open addressing while it is made, of which two arrays are kept. An index is somebody
 * else's, who could choose ids that all fall together: each process mixes them in a way of its own.
 */
#include "depot/twins.h"

#include <errno.h>

#include "depot/mix.h"
#include "depot/zeros.h"

#define NONE UINT32_MAX

struct twins {
	uint32_t *first, *next;
};

struct twins *twins_free(struct twins *t)
{
	if (!t)
		return NULL;
	free(t->first);
	free(t->next);
	free(t);
	return NULL;
}

/* Finds the slot of this chunk, or the empty one where it belongs. */
static size_t slot_find(
	const struct caibx *x, const uint32_t *slots, size_t mask, const struct caibx_chunk *chunk)
{
	size_t at = (size_t)mix_id(chunk->id) & mask;

	while (slots[at] != NONE) {
		const struct caibx_chunk *there = &x->chunks[slots[at]];

		if (there->size == chunk->size && memcmp(there->id, chunk->id, CHUNK_ID_SIZE) == 0)
			break;
		at = (at + 1) & mask;
	}
	return at;
}

/* Chains are made from the last place to the first, so that they lead upwards. */
static void twins_link(struct twins *t, const struct caibx *x, uint32_t *slots, size_t mask)
{
	for (size_t i = x->count; i-- > 0;) {
		const struct caibx_chunk *chunk = &x->chunks[i];
		size_t at;

		t->first[i] = (uint32_t)i;
		t->next[i] = NONE;
		if (zeros_is_id(chunk->id, chunk->size))
			continue;
		at = slot_find(x, slots, mask, chunk);
		t->next[i] = slots[at];
		slots[at] = (uint32_t)i;
	}
	for (size_t i = 0; i < x->count; i++)
		if (t->next[i] != NONE)
			t->first[t->next[i]] = t->first[i];
}

int twins_new(const struct caibx *index, struct twins **ret)
{
	struct twins *t AUTO(twins_freep) = calloc(1, sizeof(*t));
	autofree uint32_t *slots = NULL;
	size_t size = 16;

	while (size < index->count * 2)
		size *= 2;
	slots = malloc(size * sizeof(*slots));
	if (!t || !slots)
		return -ENOMEM;
	t->first = malloc((index->count + 1) * sizeof(*t->first));
	t->next = malloc((index->count + 1) * sizeof(*t->next));
	if (!t->first || !t->next)
		return -ENOMEM;
	memset(slots, 0xff, size * sizeof(*slots));
	twins_link(t, index, slots, size - 1);
	*ret = TAKE_PTR(t);
	return 0;
}

size_t twins_first(const struct twins *t, size_t i)
{
	return t->first[i];
}

size_t twins_next(const struct twins *t, size_t i)
{
	return t->next[i] == NONE ? TWINS_END : t->next[i];
}
