#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "lib/clock.h"
#include "porter/haul_private.h"

#define REQUESTS 8

/* For work that holds up everything else. */
#define SLICE_US (20 * UINT64_C(1000))

/* Nobody has given anything for so long. */
#define STUCK_US (60 * SECOND)

static int take_part(struct haul *h, const json_t *part, struct error *err)
{
	struct cargo *c = &h->cargos[h->count];
	const char *blob = json_string_value(json_object_get(part, "digest"));
	const char *index = json_string_value(json_object_get(part, "index"));
	json_int_t size = json_integer_value(json_object_get(part, "size"));

	if (h->count == MANIFEST_PARTS_MAX || !blob || !index || !digest_is_hex(blob) ||
		!digest_is_hex(index) || size <= 0)
		return fail(err, -EINVAL, "the node's daemon wants an image that is none");
	cargo_init(c);
	snprintf(c->blob, sizeof(c->blob), "%s", blob);
	snprintf(c->index_digest, sizeof(c->index_digest), "%s", index);
	c->size = (uint64_t)size;
	h->indexes[h->count] = (struct quest){.haul = h, .cargo = c, .max = CAIBX_BYTES_MAX};
	snprintf(h->indexes[h->count].path, sizeof(h->indexes[h->count].path), "/index/%s.caibx",
		blob);
	h->count++;
	return 0;
}

int haul_new(struct porter *p, json_t *image, struct haul **ret, struct error *err)
{
	struct haul *h AUTO(haul_freep) = calloc(1, sizeof(*h));
	const char *digest = json_string_value(json_object_get(image, "digest"));
	const json_t *part;
	uint64_t seed = 0;
	size_t i;
	int r = 0;

	if (!h)
		return fail(err, -ENOMEM, "out of memory");
	if (!digest || !digest_is_hex(digest))
		return fail(err, -EINVAL, "the node's daemon wants an image that is none");
	if (getrandom(&seed, sizeof(seed), 0) < 0)
		seed = clock_now_us();
	h->porter = p;
	h->heard_us = h->rate_us = clock_now_us();
	snprintf(h->digest, sizeof(h->digest), "%s", digest);
	h->manifest = (struct quest){.haul = h,
		.max = MANIFEST_BYTES_MAX,
		.done = !json_is_true(json_object_get(image, "manifest"))};
	snprintf(h->manifest.path, sizeof(h->manifest.path), "/manifest/%s.json", digest);
	json_array_foreach(json_object_get(image, "parts"), i, part) if (r == 0) r =
		take_part(h, part, err);
	h->swarm = swarm_new(REQUESTS, seed);
	if (r == 0 && !h->swarm)
		r = fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = syncer_new(&h->syncer, err);
	if (r == 0)
		r = haul_add_origins(h, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(h);
	return 0;
}

int haul_on_changed(struct haul *h, struct error *err)
{
	return haul_add_origins(h, err);
}

static void stop(struct haul *h)
{
	for (size_t i = 0; i < SWARM_REQUESTS_MAX; i++)
		trip_drop(&h->trips[i]);
	quest_done(&h->manifest);
	for (size_t i = 0; i < h->count; i++)
		quest_done(&h->indexes[i]);
	h->syncer = syncer_free(h->syncer);
}

struct haul *haul_free(struct haul *h)
{
	if (!h)
		return NULL;
	stop(h);
	haul_remove_sources(h);
	for (size_t i = 0; i < h->count; i++)
		cargo_done(&h->cargos[i], h->porter->holdings);
	swarm_free(h->swarm);
	free(h);
	return NULL;
}

const char *haul_digest(const struct haul *h)
{
	return h->digest;
}

static void sum(const struct haul *h, uint64_t *there, uint64_t *total, uint64_t *reused)
{
	*there = *total = *reused = 0;
	for (size_t i = 0; i < h->count; i++) {
		*there += h->cargos[i].there;
		*total += h->cargos[i].size;
		*reused += h->cargos[i].reused;
	}
}

double haul_done(const struct haul *h)
{
	uint64_t there, total, reused;

	sum(h, &there, &total, &reused);
	return total > 0 ? (double)there / (double)total : 0;
}

json_t *haul_progress(struct haul *h)
{
	uint64_t there, total, reused, now = clock_now_us();
	uint64_t got = h->from_peers + h->from_origin;
	uint64_t rate = (got - h->rate_bytes) * SECOND / MAX_OF(now - h->rate_us, 1);

	h->rate_bytes = got;
	h->rate_us = now;
	sum(h, &there, &total, &reused);
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "op", "progress", "digest",
		h->digest, "bytes", (json_int_t)there, "total", (json_int_t)total, "reused",
		(json_int_t)reused, "from_peers", (json_int_t)h->from_peers, "from_origin",
		(json_int_t)h->from_origin, "rate", (json_int_t)rate);
}

/* Returns 1 if it is to be called again soon. */
static int work_on(
	struct haul *h, struct cargo *c, struct quest *index, uint64_t now_us, struct error *err)
{
	struct holdings *holdings = h->porter->holdings;
	int r = 0;

	if (c->state == CARGO_NEW) {
		r = cargo_open(c, &h->porter->daemon, h->digest, holdings, err);
		if (r == 0 && c->state == CARGO_LOCAL)
			r = syncer_add(h->syncer, c->assembly);
	}
	if (r == 0 && c->state == CARGO_LACKS_INDEX)
		quest_work(index, now_us);
	if (r < 0 || c->state != CARGO_LOCAL)
		return r;
	h->heard_us = now_us;
	r = cargo_look(c, holdings, now_us + SLICE_US, err);
	if (r == 1)
		r = cargo_join(c, h->swarm, err);
	return r < 0 ? r : 1;
}

static bool is_whole(const struct haul *h)
{
	for (size_t i = 0; i < h->count; i++)
		if (!cargo_is_whole(&h->cargos[i]))
			return false;
	return h->manifest.done;
}

/* Takes what is to be told to the daemon. */
static int tell(struct haul *h, json_t *what, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};

	return daemon_ask(&h->porter->daemon, what, &answer, err);
}

/* The daemon verifies each part as a whole, and takes it. */
static int hand_over(struct haul *h, struct error *err)
{
	int r = 0;

	stop(h);
	if (tell(h, haul_progress(h), err) < 0)
		return err->code;
	for (size_t i = 0; i < h->count && r == 0; i++)
		r = cargo_finish(&h->cargos[i], h->porter->holdings, err);
	for (size_t i = 0; i < h->count && r == 0; i++)
		r = tell(h,
			json_pack("{s:s, s:s, s:s}", "op", "done", "digest", h->digest, "blob",
				h->cargos[i].blob),
			err);
	return r < 0 ? r : 1;
}

static int fail_stuck(const struct haul *h, struct error *err)
{
	return fail(err, -ETIMEDOUT, "nobody gives it: %s",
		h->reason[0] ? h->reason
			     : "no other node has it and there is no origin; set [images] origins");
}

int haul_work(struct haul *h, uint64_t *ret_wait_us, struct error *err)
{
	uint64_t now = clock_now_us();
	bool soon = false;

	*ret_wait_us = SECOND / 4;
	for (size_t i = 0; i < h->count; i++) {
		int r = work_on(h, &h->cargos[i], &h->indexes[i], now, err);

		if (r < 0)
			return r;
		soon |= r > 0;
	}
	quest_work(&h->manifest, now);
	now = clock_now_us();
	haul_end_stalled(h, now);
	haul_start_trips(h, now, ret_wait_us);
	if (h->failure.code < 0)
		return fail(err, h->failure.code, "%s", h->failure.text);
	if (syncer_check(h->syncer, err) < 0)
		return err->code;
	if (is_whole(h))
		return hand_over(h, err);
	if (now > h->heard_us + STUCK_US)
		return fail_stuck(h, err);
	if (soon)
		*ret_wait_us = 0;
	return 0;
}
