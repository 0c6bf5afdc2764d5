#include "sql/cache.h"

#define FIRST_SIZE 64

uint64_t sql_cache_types(const struct sql_value *values, size_t count)
{
	uint64_t types = 0;

	for (size_t i = 0; i < count && i < 32; i++)
		types |= (uint64_t)values[i].type << (2 * i);
	return types;
}

static struct sql_prepared *find_slot(const struct sql_cache *c, const char *text, uint64_t types)
{
	uint64_t hash = ((uint64_t)(uintptr_t)text ^ types) * UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = hash >> 32;; i++) {
		struct sql_prepared *slot = &c->slots[i & (c->size - 1)];

		if (!slot->text || (slot->text == text && slot->types == types))
			return slot;
	}
}

/* Half of it is empty at least, so that a search ends soon. */
static bool cache_grow(struct sql_cache *c)
{
	struct sql_cache bigger = {.size = c->size ? 2 * c->size : FIRST_SIZE, .count = c->count};

	bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < c->size; i++)
		if (c->slots[i].text)
			*find_slot(&bigger, c->slots[i].text, c->slots[i].types) = c->slots[i];
	free(c->slots);
	*c = bigger;
	return true;
}

struct sql_prepared *sql_cache_get(struct sql_cache *c, const char *text, uint64_t types)
{
	struct sql_prepared *slot;

	if (2 * c->count >= c->size && !cache_grow(c))
		return NULL;
	slot = find_slot(c, text, types);
	if (!slot->text) {
		slot->text = text;
		slot->types = types;
		c->count++;
	}
	return slot;
}

void sql_cache_done(struct sql_cache *c)
{
	free(c->slots);
	*c = (struct sql_cache){0};
}
