#include "depot/swarm.h"

#include <errno.h>

#define MS UINT64_C(1000)

/* Pauses after "nothing", "busy" and failures, doubled each time up to the second figure. */
#define NOTHING_US     (30 * MS)
#define NOTHING_MAX_US (500 * MS)
#define BUSY_US        (40 * MS)
#define BUSY_MAX_US    (1000 * MS)
#define CROWDED_MAX_US (4000 * MS) /* of an origin, by whom others give something */
#define FAILED_US      (2000 * MS)
#define FAILED_MAX_US  (60000 * MS)
#define BAD_ORIGIN_US  (60000 * MS)
#define ALIVE_US       (2000 * MS)
#define HICCUP_US      (200 * MS)

/* Requests to one source at a time: with more than one, two answers promise the same chunks now and
 * then, but a source that is nearly alone shall not wait for our next question. */
#define EACH_MAX 2
#define FEW      4 /* sources */

/* As long as this many peers are of use, each node has one request at an origin, not more. */
#define USEFUL_PEERS 3
#define USEFUL_US    (1000 * MS)

/* An answer should take no longer than this, from a source as fast as it was before. */
#define ANSWER_US  (500 * MS)
#define ANSWER_MIN (128U * 1024)

#define DURATIONS 32 /* of which the median is taken */
#define LATE_US                                                                          \
	(300 * MS) /* before an answer is late in any case, and before there is a median \
		    */

struct part {
	size_t count, lacking, wanted; /* chunks: in all, not there, not there and not asked for */
	uint64_t wanted_bytes;
	uint32_t *sizes;
	uint8_t *asked;       /* how many requests have promised it */
	uint8_t *there;       /* bits */
	uint8_t *wanted_bits; /* lacking, and asked == 0 */
};

struct source {
	bool used, removed, bad;
	enum swarm_kind kind;
	size_t requests;
	size_t part; /* where it is begun to look for what to ask */
	unsigned int nothing, busy, failed;
	uint64_t next_us, useful_us;
	uint64_t rate; /* bytes a second; 0: not known */
};

struct request {
	bool used;
	size_t source, part;
	uint64_t begun_us, heard_us, bytes;
	uint32_t chunks[PICK_CHUNKS_MAX];
	size_t count;
};

struct swarm {
	size_t limit, part_count;
	uint64_t random;
	struct part parts[SWARM_PARTS_MAX];
	struct source sources[SWARM_SOURCES_MAX];
	struct request requests[SWARM_REQUESTS_MAX];
	uint64_t durations[DURATIONS];
	size_t duration_count;
	uint8_t *bits; /* of the last question */
};

struct swarm *swarm_new(size_t requests, uint64_t seed)
{
	struct swarm *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->limit = MIN_OF(requests, SWARM_REQUESTS_MAX);
	s->random = seed | 1;
	s->bits = calloc(1, PICK_WINDOW / 8);
	return s->bits ? s : swarm_free(s);
}

struct swarm *swarm_free(struct swarm *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->part_count; i++) {
		free(s->parts[i].sizes);
		free(s->parts[i].asked);
		free(s->parts[i].there);
		free(s->parts[i].wanted_bits);
	}
	free(s->bits);
	free(s);
	return NULL;
}

/* xorshift64*: nothing depends on its being good. */
static uint64_t next_random(struct swarm *s)
{
	s->random ^= s->random >> 12;
	s->random ^= s->random << 25;
	s->random ^= s->random >> 27;
	return s->random * UINT64_C(2685821657736338717) >> 11;
}

static bool has_bit(const uint8_t *bits, uint32_t i)
{
	return bits[i / 8] >> i % 8 & 1;
}

static void set_bit(uint8_t *bits, uint32_t i)
{
	bits[i / 8] |= (uint8_t)(1U << i % 8);
}

static void clear_bit(uint8_t *bits, uint32_t i)
{
	bits[i / 8] &= (uint8_t) ~(1U << i % 8);
}

/* Is it to be asked for? Called after each change of what that depends on. */
static void update(struct part *p, uint32_t chunk)
{
	bool is = has_bit(p->wanted_bits, chunk);
	bool should = !has_bit(p->there, chunk) && p->asked[chunk] == 0;

	if (should && !is) {
		set_bit(p->wanted_bits, chunk);
		p->wanted++;
		p->wanted_bytes += p->sizes[chunk];
	} else if (!should && is) {
		clear_bit(p->wanted_bits, chunk);
		p->wanted--;
		p->wanted_bytes -= p->sizes[chunk];
	}
}

int swarm_add_part(struct swarm *s, const uint32_t *sizes, size_t count)
{
	struct part *p = &s->parts[s->part_count];

	if (s->part_count == SWARM_PARTS_MAX || count >= UINT32_MAX)
		return -E2BIG;
	*p = (struct part){.count = count, .lacking = count};
	s->part_count++;
	p->sizes = calloc(count + 1, sizeof(*p->sizes));
	p->asked = calloc(count + 1, 1);
	p->there = calloc(count / 8 + 1, 1);
	p->wanted_bits = calloc(count / 8 + 1, 1);
	if (!p->sizes || !p->asked || !p->there || !p->wanted_bits) {
		p->count = p->lacking = 0;
		return -ENOMEM;
	}
	memcpy(p->sizes, sizes, count * sizeof(*sizes));
	for (uint32_t i = 0; i < count; i++)
		update(p, i);
	return (int)s->part_count - 1;
}

void swarm_have(struct swarm *s, size_t part, uint32_t chunk)
{
	struct part *p = &s->parts[part];

	if (has_bit(p->there, chunk))
		return;
	set_bit(p->there, chunk);
	p->lacking--;
	update(p, chunk);
}

bool swarm_is_complete(const struct swarm *s)
{
	for (size_t i = 0; i < s->part_count; i++)
		if (s->parts[i].lacking > 0)
			return false;
	return true;
}

int swarm_add_source(struct swarm *s, enum swarm_kind kind)
{
	for (size_t i = 0; i < SWARM_SOURCES_MAX; i++)
		if (!s->sources[i].used) {
			s->sources[i] = (struct source){.used = true, .kind = kind};
			return (int)i;
		}
	return -E2BIG;
}

static void forget_if_idle(struct source *source)
{
	if (source->removed && source->requests == 0)
		source->used = false;
}

void swarm_remove_source(struct swarm *s, size_t source)
{
	s->sources[source].removed = true;
	forget_if_idle(&s->sources[source]);
}

void swarm_set_kind(struct swarm *s, size_t source, enum swarm_kind kind)
{
	s->sources[source].kind = kind;
	s->sources[source].next_us = 0;
}

size_t swarm_count_requests(const struct swarm *s, size_t source)
{
	size_t count = 0;

	for (size_t i = 0; i < SWARM_REQUESTS_MAX; i++)
		count += s->requests[i].used &&
			 (source == SIZE_MAX || s->requests[i].source == source);
	return count;
}

void swarm_promise(struct swarm *s, size_t request, uint32_t chunk)
{
	struct request *r = &s->requests[request];
	struct part *p = &s->parts[r->part];

	if (chunk >= p->count || r->count == PICK_CHUNKS_MAX || p->asked[chunk] == UINT8_MAX)
		return;
	r->chunks[r->count++] = chunk;
	p->asked[chunk]++;
	update(p, chunk);
}

void swarm_hear(struct swarm *s, size_t request, uint64_t bytes, uint64_t now_us)
{
	struct request *r = &s->requests[request];

	r->heard_us = now_us;
	r->bytes += bytes;
}

/* Half of it is by chance, so that those who were refused together do not come back together. */
static uint64_t pause_us(struct swarm *s, unsigned int *times, uint64_t first, uint64_t most)
{
	uint64_t us = MIN_OF(first << MIN_OF(*times, 16U), most);

	++*times;
	return us / 2 + next_random(s) % (us / 2 + 1);
}

static void note_success(struct swarm *s, const struct request *r, uint64_t now_us)
{
	struct source *source = &s->sources[r->source];
	uint64_t us = MAX_OF(now_us - r->begun_us, 1);
	uint64_t rate = r->bytes * 1000 * MS / us;

	source->nothing = source->busy = source->failed = 0;
	source->useful_us = now_us;
	source->rate = source->rate > 0 ? (source->rate + rate) / 2 : rate;
	s->durations[s->duration_count++ % DURATIONS] = us;
}

/* The next part, and a pause when it has nothing of any. */
static void note_nothing(struct swarm *s, const struct request *r, uint64_t now_us)
{
	struct source *source = &s->sources[r->source];

	source->part = r->part + 1;
	if (source->part < s->part_count)
		return;
	source->part = 0;
	source->next_us = now_us + pause_us(s, &source->nothing, NOTHING_US, NOTHING_MAX_US);
}

/* What fails together counts once; and one that has just given something is more likely to have too
 * much to do than to be dead. */
static void note_failure(struct swarm *s, struct source *source, uint64_t now_us)
{
	bool alive = source->useful_us > 0 && now_us < source->useful_us + ALIVE_US;

	if (source->next_us > now_us)
		return;
	source->next_us =
		now_us + (alive && source->failed == 0
					 ? pause_us(s, &source->failed, HICCUP_US, HICCUP_US)
					 : pause_us(s, &source->failed, FAILED_US, FAILED_MAX_US));
}

static size_t count_useful(const struct swarm *s, uint64_t now_us)
{
	size_t count = 0;

	for (size_t i = 0; i < SWARM_SOURCES_MAX; i++) {
		const struct source *source = &s->sources[i];

		count += source->used && source->kind == SWARM_PEER && source->useful_us > 0 &&
			 now_us < source->useful_us + USEFUL_US;
	}
	return count;
}

/* Thousands of nodes would ask an origin thousands of times a second. */
static uint64_t busy_max_us(const struct swarm *s, const struct source *source, uint64_t now_us)
{
	return source->kind != SWARM_PEER && count_useful(s, now_us) >= USEFUL_PEERS
		       ? CROWDED_MAX_US
		       : BUSY_MAX_US;
}

void swarm_end(struct swarm *s, size_t request, enum swarm_end how, uint64_t now_us)
{
	struct request *r = &s->requests[request];
	struct source *source = &s->sources[r->source];
	struct part *p = &s->parts[r->part];

	r->used = false;
	source->requests--;
	for (size_t i = 0; i < r->count; i++) {
		p->asked[r->chunks[i]]--;
		update(p, r->chunks[i]);
	}
	switch (how) {
	case SWARM_DONE:
		note_success(s, r, now_us);
		break;
	case SWARM_NOTHING:
		note_nothing(s, r, now_us);
		break;
	case SWARM_BUSY:
		source->next_us = now_us + pause_us(s, &source->busy, BUSY_US,
						   busy_max_us(s, source, now_us));
		break;
	case SWARM_FAILED:
		note_failure(s, source, now_us);
		break;
	case SWARM_BAD:
		source->bad = source->kind == SWARM_PEER;
		source->next_us = now_us + BAD_ORIGIN_US;
		break;
	}
	forget_if_idle(source);
}

int swarm_find_stalled(const struct swarm *s, uint64_t now_us)
{
	for (size_t i = 0; i < SWARM_REQUESTS_MAX; i++)
		if (s->requests[i].used && now_us >= s->requests[i].heard_us + SWARM_STALL_US)
			return (int)i;
	return -ENOENT;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* How long an answer may take before somebody else is asked as well. */
static uint64_t late_us(const struct swarm *s)
{
	uint64_t sorted[DURATIONS];
	size_t n = MIN_OF(s->duration_count, (size_t)DURATIONS);

	if (n == 0)
		return SWARM_STALL_US;
	memcpy(sorted, s->durations, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare);
	return MAX_OF(2 * sorted[n / 2], LATE_US);
}

/* Peers, or sources of all kinds. */
static size_t count_sources(const struct swarm *s, bool peers)
{
	size_t count = 0;

	for (size_t i = 0; i < SWARM_SOURCES_MAX; i++) {
		const struct source *source = &s->sources[i];

		count += source->used && !source->removed && !source->bad &&
			 (!peers || source->kind == SWARM_PEER);
	}
	return count;
}

/* Peers are there for this; where there are some, origins are left to those that have none. */
static size_t most_requests(const struct swarm *s, const struct source *source, size_t useful)
{
	if (source->kind == SWARM_WEB && count_sources(s, true) == 0)
		return s->limit;
	if (source->kind != SWARM_PEER && useful >= USEFUL_PEERS)
		return 1;
	return count_sources(s, false) < FEW ? EACH_MAX : 1;
}

struct choice {
	uint64_t now_us, wait_us;
	size_t useful;
	bool tried[SWARM_SOURCES_MAX]; /* there is nothing to ask of it */
};

/* Is it better to ask a than b? */
static bool is_better(const struct source *a, const struct source *b, size_t useful)
{
	if (useful >= USEFUL_PEERS && (a->kind == SWARM_WEB) != (b->kind == SWARM_WEB))
		return b->kind == SWARM_WEB;
	return a->requests < b->requests;
}

/* The source that has least to do; by chance among equals. Returns its number or -ENOENT. */
static int choose_source(struct swarm *s, struct choice *c)
{
	size_t equals = 0;
	int best = -ENOENT;

	for (size_t i = 0; i < SWARM_SOURCES_MAX; i++) {
		const struct source *source = &s->sources[i];

		if (!source->used || source->removed || source->bad || c->tried[i] ||
			source->requests >= most_requests(s, source, c->useful))
			continue;
		if (source->next_us > c->now_us) {
			c->wait_us = MIN_OF(c->wait_us, source->next_us - c->now_us);
			continue;
		}
		if (best < 0 || is_better(source, &s->sources[best], c->useful)) {
			best = (int)i;
			equals = 1;
		} else if (!is_better(&s->sources[best], source, c->useful) &&
			   next_random(s) % ++equals == 0) {
			best = (int)i;
		}
	}
	return best;
}

/* Where a part has more chunks than fit, a window with some that are wanted. */
static void choose_window(struct swarm *s, const struct part *p, const uint8_t *bits,
	uint32_t *first, uint32_t *count)
{
	uint32_t windows = (uint32_t)(p->count / PICK_WINDOW + (p->count % PICK_WINDOW > 0));
	uint32_t from = (uint32_t)(next_random(s) % windows);

	for (uint32_t i = 0; i < windows; i++) {
		*first = (from + i) % windows * PICK_WINDOW;
		*count = (uint32_t)MIN_OF(p->count - *first, (size_t)PICK_WINDOW);
		for (uint32_t byte = 0; byte < (*count + 7) / 8; byte++)
			if (bits[*first / 8 + byte])
				return;
	}
}

/* The more sources, and the less there is to ask for, the smaller the pieces, so that all end
 * together. */
static uint32_t choose_bytes(const struct swarm *s, const struct source *source, uint64_t wanted)
{
	uint64_t bytes = PICK_BYTES_MAX;

	if (source->rate > 0)
		bytes = source->rate * ANSWER_US / (1000 * MS);
	bytes = MIN_OF(bytes, wanted / MAX_OF(s->limit, 1));
	return (uint32_t)MIN_OF(MAX_OF(bytes, ANSWER_MIN), PICK_BYTES_MAX);
}

/* One by chance of those that are wanted. */
static uint32_t choose_chunk(struct swarm *s, const struct part *p, const uint8_t *bits)
{
	uint32_t from = (uint32_t)(next_random(s) % p->count);

	for (uint32_t i = 0; i < p->count; i++)
		if (has_bit(bits, (uint32_t)((from + i) % p->count)))
			return (uint32_t)((from + i) % p->count);
	return from;
}

static void fill_ask(struct swarm *s, size_t source, size_t part, const uint8_t *bits,
	uint64_t bytes, struct swarm_ask *ret)
{
	const struct part *p = &s->parts[part];
	uint32_t first = 0, count = 0;

	*ret = (struct swarm_ask){.source = source, .part = part, .kind = s->sources[source].kind};
	if (ret->kind == SWARM_WEB) {
		ret->chunk = choose_chunk(s, p, bits);
		return;
	}
	choose_window(s, p, bits, &first, &count);
	if (bits != s->bits || first > 0)
		memmove(s->bits, bits + first / 8, (count + 7) / 8);
	ret->pick = (struct pick){.bytes = choose_bytes(s, &s->sources[source], bytes),
		.first = first,
		.count = count,
		.wanted = s->bits};
}

/* What others are late with, in the window that is looked at, as bits. Returns the bytes. */
static uint64_t find_late(struct swarm *s, size_t source, size_t part, struct choice *c)
{
	const struct part *p = &s->parts[part];
	uint64_t bytes = 0, late = late_us(s);

	if (p->count > PICK_WINDOW) /* the rest of a huge one can wait for stalls */
		return 0;
	memset(s->bits, 0, (p->count + 7) / 8);
	for (size_t i = 0; i < SWARM_REQUESTS_MAX; i++) {
		const struct request *r = &s->requests[i];

		if (!r->used || r->part != part || r->source == source)
			continue;
		if (c->now_us < r->begun_us + late) {
			c->wait_us = MIN_OF(c->wait_us, r->begun_us + late - c->now_us);
			continue;
		}
		for (size_t k = 0; k < r->count; k++) {
			uint32_t chunk = r->chunks[k];

			if (has_bit(p->there, chunk) || p->asked[chunk] > 1)
				continue;
			set_bit(s->bits, chunk);
			bytes += p->sizes[chunk];
		}
	}
	return bytes;
}

/* What this source is asked. */
static bool choose_ask(struct swarm *s, size_t source, struct choice *c, struct swarm_ask *ret)
{
	for (size_t i = 0; i < s->part_count; i++) {
		size_t part = (s->sources[source].part + i) % s->part_count;
		const struct part *p = &s->parts[part];

		if (p->wanted == 0)
			continue;
		fill_ask(s, source, part, p->wanted_bits, p->wanted_bytes, ret);
		return true;
	}
	for (size_t part = 0; part < s->part_count; part++) {
		uint64_t bytes = s->parts[part].lacking > 0 ? find_late(s, source, part, c) : 0;

		if (bytes == 0)
			continue;
		fill_ask(s, source, part, s->bits, bytes, ret);
		return true;
	}
	return false;
}

static void begin_request(struct swarm *s, uint64_t now_us, struct swarm_ask *ask)
{
	size_t i = 0;

	while (s->requests[i].used)
		i++;
	ask->request = i;
	s->requests[i].used = true;
	s->requests[i].source = ask->source;
	s->requests[i].part = ask->part;
	s->requests[i].begun_us = s->requests[i].heard_us = now_us;
	s->requests[i].bytes = s->requests[i].count = 0;
	s->sources[ask->source].requests++;
	if (ask->kind == SWARM_WEB)
		swarm_promise(s, i, ask->chunk);
}

bool swarm_next(struct swarm *s, uint64_t now_us, struct swarm_ask *ret, uint64_t *ret_wait_us)
{
	struct choice c = {.now_us = now_us, .wait_us = SWARM_STALL_US};
	int source;

	*ret_wait_us = SWARM_STALL_US;
	if (swarm_count_requests(s, SIZE_MAX) >= s->limit || swarm_is_complete(s))
		return false;
	c.useful = count_useful(s, now_us);
	while ((source = choose_source(s, &c)) >= 0) {
		if (choose_ask(s, (size_t)source, &c, ret)) {
			begin_request(s, now_us, ret);
			return true;
		}
		c.tried[source] = true;
	}
	*ret_wait_us = c.wait_us;
	return false;
}
