#include <errno.h>
#include <stdio.h>

#include "lib/clock.h"
#include "porter/haul_private.h"

/* What an answer may have beside its chunks. */
#define MORE_MAX 65536

/* It may end only after the callback that found something. */
static void note_bad(struct trip *t, uint32_t chunk, const char *reason)
{
	t->bad = true;
	t->chunk = chunk;
	snprintf(t->reason, sizeof(t->reason), "%.250s", reason);
}

static bool put(struct trip *t, uint32_t chunk, const void *packed, size_t length)
{
	struct haul *h = t->haul;
	bool origin = h->sources[t->source].origin;
	struct error err = {0};
	int r = cargo_put(t->cargo, h->swarm, chunk, packed, length, !origin, &err);

	if (r == -EBADMSG)
		note_bad(t, chunk, err.text);
	else if (r < 0)
		h->failure = err;
	if (r < 0)
		return false;
	*(origin ? &h->from_origin : &h->from_peers) += length;
	h->heard_us = clock_now_us();
	return true;
}

static bool on_pick_data(struct trip *t, const uint8_t *data, size_t length)
{
	while (length > 0) {
		size_t used;
		int step = pick_read(&t->reader, data, length, &used);

		if (step < 0) {
			note_bad(t, 0, "this is no answer to what was asked");
			return false;
		}
		data += used;
		length -= used;
		for (size_t i = 0; step == PICK_ROWS && i < t->reader.count; i++)
			swarm_promise(t->haul->swarm, t->number, t->reader.rows[i].chunk);
		if (step == PICK_CHUNK &&
			!put(t, t->reader.rows[t->reader.done - 1].chunk,
				buffer_head(&t->reader.bytes), t->reader.bytes.len))
			return false;
	}
	return true;
}

static bool on_data(void *userdata, const void *data, size_t length)
{
	struct trip *t = userdata;

	swarm_hear(t->haul->swarm, t->number, length, clock_now_us());
	if (!t->web)
		return on_pick_data(t, data, length);
	return buffer_append(&t->bytes, data, length) == 0;
}

static void release(struct trip *t)
{
	t->errand = NULL;
	buffer_done(&t->question);
	buffer_done(&t->bytes);
	pick_reader_done(&t->reader);
}

void trip_drop(struct trip *t)
{
	if (!t->errand)
		return;
	errand_cancel(t->errand);
	release(t);
	swarm_end(t->haul->swarm, t->number, SWARM_FAILED, clock_now_us());
}

static void ban(struct trip *t)
{
	struct haul *h = t->haul;
	char id[DIGEST_HEX_SIZE];

	digest_format(t->cargo->index->chunks[t->chunk].id, id);
	haul_ban(h, t->source, id, t->reason);
	for (size_t i = 0; i < SWARM_REQUESTS_MAX; i++)
		if (h->trips[i].errand && h->trips[i].source == t->source)
			trip_drop(&h->trips[i]);
}

/* What its end means. */
static enum swarm_end judge(struct trip *t, int status)
{
	bool origin = t->haul->sources[t->source].origin;

	if (t->bad)
		return SWARM_BAD;
	if (status == 200 && t->web)
		return put(t, t->chunk, buffer_head(&t->bytes), t->bytes.len) ? SWARM_DONE
		       : t->bad                                               ? SWARM_BAD
									      : SWARM_FAILED;
	if (status == 200)
		return pick_reader_is_whole(&t->reader) ? SWARM_DONE : SWARM_FAILED;
	if (status == 503)
		return SWARM_BUSY;
	if (status == 204 || (status == 404 && (t->web || !origin)))
		return SWARM_NOTHING;
	return SWARM_FAILED;
}

/* An origin that knows nothing of picks, whatever it says to one: it is asked for one chunk after
 * the other from now on, and no more for picks while this image is fetched. */
static bool is_web_server(const struct trip *t, int status)
{
	if (!t->haul->sources[t->source].origin || t->web)
		return false;
	if (t->bad || status == 200)
		return !t->reader.has_rows;
	return status >= 300 && status != 503;
}

static void on_end(void *userdata, int status, const char *why)
{
	struct trip *t = userdata;
	struct haul *h = t->haul;
	const struct source *s = &h->sources[t->source];
	bool web = is_web_server(t, status);
	enum swarm_end how = web ? SWARM_FAILED : judge(t, status);

	if (how == SWARM_FAILED)
		snprintf(h->reason, sizeof(h->reason), "'%s' fails: %s (status %d)", s->url,
			why[0] ? why : "it refuses", status);
	else if (t->web && status == 404)
		snprintf(h->reason, sizeof(h->reason), "'%s' lacks chunks of the image", s->url);
	release(t);
	if (how == SWARM_BAD)
		ban(t);
	swarm_end(h->swarm, t->number, how, clock_now_us());
	if (web)
		swarm_set_kind(h->swarm, t->source, SWARM_WEB);
	else if (how == SWARM_FAILED)
		haul_take_outsider(h, t->source, why);
}

static struct cargo *find_cargo(struct haul *h, size_t part)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->cargos[i].state == CARGO_FETCHING && h->cargos[i].number == part)
			return &h->cargos[i];
	return NULL;
}

/* The question is kept: what is answered is compared with it. */
static int format_question(struct trip *t, const struct swarm_ask *ask, struct buffer *ret)
{
	struct pick pick = ask->pick;
	int r;

	memcpy(pick.index, t->cargo->index_id, CHUNK_ID_SIZE);
	r = pick_format(&pick, &t->question);
	if (r == 0)
		r = buffer_append(ret, buffer_head(&t->question), t->question.len);
	if (r == 0)
		r = pick_parse(buffer_head(&t->question), t->question.len, &t->pick);
	t->reader = (struct pick_reader){.pick = &t->pick};
	return r;
}

static int start(struct haul *h, const struct swarm_ask *ask)
{
	struct trip *t = &h->trips[ask->request];
	const struct errand_calls calls = {on_data, on_end, t};
	struct buffer body AUTO(buffer_done) = {0};
	struct errand_address address;
	char path[sizeof("/chunks/") + CHUNK_PATH_SIZE] = "/pick", name[CHUNK_PATH_SIZE];
	int r = 0;

	*t = (struct trip){.haul = h,
		.cargo = find_cargo(h, ask->part),
		.number = ask->request,
		.source = ask->source,
		.web = ask->kind == SWARM_WEB,
		.chunk = ask->chunk};
	haul_address(h, ask->source, &address);
	if (!t->web) {
		r = format_question(t, ask, &body);
	} else {
		chunk_format_path(t->cargo->index->chunks[ask->chunk].id, name);
		snprintf(path, sizeof(path), "/chunks/%s", name);
	}
	if (r == 0)
		t->errand = carrier_start(h->porter->carrier, &address, path, t->web ? NULL : &body,
			t->web ? CHUNK_PACKED_MAX : PICK_RESPONSE_MAX + MORE_MAX, &calls);
	if (t->errand)
		return 0;
	release(t);
	swarm_end(h->swarm, t->number, SWARM_FAILED, clock_now_us());
	return -ENOMEM;
}

void haul_start_trips(struct haul *h, uint64_t now_us, uint64_t *wait_us)
{
	struct swarm_ask ask;
	uint64_t wait;

	while (swarm_next(h->swarm, now_us, &ask, &wait))
		if (start(h, &ask) < 0)
			break;
	*wait_us = MIN_OF(*wait_us, wait);
}

void haul_end_stalled(struct haul *h, uint64_t now_us)
{
	int number;

	while ((number = swarm_find_stalled(h->swarm, now_us)) >= 0) {
		snprintf(h->reason, sizeof(h->reason), "'%s' is silent",
			h->sources[h->trips[number].source].url);
		trip_drop(&h->trips[number]);
	}
}
