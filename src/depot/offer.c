#include "depot/offer.h"

/* How many times in a row it is looked for chunks that were given a bit more often, until an answer
 * is full: it need not be. */
#define LEVELS 4

struct offer {
	size_t count, there;
	uint32_t *sizes;
	uint16_t *given; /* how often; ABSENT: it is not there */
	uint64_t random;
};

#define ABSENT     UINT16_MAX
#define GIVEN_MOST (UINT16_MAX - 1)

struct offer *offer_new(const uint32_t *sizes, size_t count, uint64_t seed)
{
	struct offer *o AUTO(offer_freep) = calloc(1, sizeof(*o));

	if (!o || count > UINT32_MAX)
		return NULL;
	o->count = count;
	o->random = seed | 1;
	o->sizes = calloc(count + 1, sizeof(*o->sizes));
	o->given = malloc((count + 1) * sizeof(*o->given));
	if (!o->sizes || !o->given)
		return NULL;
	memcpy(o->sizes, sizes, count * sizeof(*sizes));
	memset(o->given, 0xff, (count + 1) * sizeof(*o->given));
	return TAKE_PTR(o);
}

struct offer *offer_free(struct offer *o)
{
	if (!o)
		return NULL;
	free(o->sizes);
	free(o->given);
	free(o);
	return NULL;
}

void offer_add(struct offer *o, uint32_t chunk, bool common)
{
	if (chunk >= o->count || o->given[chunk] != ABSENT)
		return;
	o->given[chunk] = common;
	o->there++;
}

bool offer_has(const struct offer *o, uint32_t chunk)
{
	return chunk < o->count && o->given[chunk] != ABSENT;
}

size_t offer_count(const struct offer *o)
{
	return o->there;
}

/* xorshift64*: nothing depends on its being good. */
static uint64_t next_random(struct offer *o)
{
	o->random ^= o->random >> 12;
	o->random ^= o->random << 25;
	o->random ^= o->random >> 27;
	return o->random * UINT64_C(2685821657736338717);
}

struct search {
	const struct pick *pick;
	uint32_t start, end; /* of the chunks that are asked for and exist */
	uint32_t *ret;
	size_t count, max;
	uint64_t bytes;
};

static bool is_full(const struct search *s)
{
	return s->count == s->max || s->bytes >= s->pick->bytes;
}

/* Takes those that were given `level` times. Returns the next level that there is, or ABSENT. */
static uint16_t take_level(struct offer *o, struct search *s, uint32_t from, uint16_t level)
{
	uint16_t next = ABSENT;
	uint32_t n = s->end - s->start;

	for (uint32_t i = 0; i < n && !is_full(s); i++) {
		uint32_t chunk = s->start + (from + i) % n;
		uint16_t given = o->given[chunk];

		if (given == ABSENT || given < level || !pick_wants(s->pick, chunk))
			continue;
		if (given > level) {
			next = MIN_OF(next, given);
			continue;
		}
		s->ret[s->count++] = chunk;
		s->bytes += o->sizes[chunk];
	}
	return next;
}

static uint16_t find_least(const struct offer *o, const struct search *s)
{
	uint16_t least = ABSENT;

	for (uint32_t chunk = s->start; chunk < s->end && least > 0; chunk++)
		if (o->given[chunk] < least && pick_wants(s->pick, chunk))
			least = o->given[chunk];
	return least;
}

size_t offer_pick(struct offer *o, const struct pick *pick, uint32_t *ret, size_t max)
{
	struct search s = {.pick = pick, .ret = ret, .max = max};
	uint16_t level;
	uint32_t from;

	s.start = (uint32_t)MIN_OF((size_t)pick->first, o->count);
	s.end = (uint32_t)MIN_OF((size_t)pick->first + pick->count, o->count);
	if (s.start == s.end)
		return 0;
	from = (uint32_t)(next_random(o) % (s.end - s.start));
	level = find_least(o, &s);
	for (int i = 0; i < LEVELS && level != ABSENT && !is_full(&s); i++)
		level = take_level(o, &s, from, level);
	for (size_t i = 0; i < s.count; i++)
		o->given[ret[i]] = MIN_OF((uint16_t)(o->given[ret[i]] + 1), GIVEN_MOST);
	return s.count;
}
