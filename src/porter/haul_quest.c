#include <errno.h>
#include <stdio.h>

#include "lib/clock.h"

#include "porter/haul_private.h"

#define PAUSE_US     (SECOND / 4) /* between rounds */
#define STALL_MAX_US (15 * SECOND)

static bool on_data(void *userdata, const void *data, size_t length)
{
	struct quest *q = userdata;

	q->heard_us = clock_now_us();
	return buffer_append(&q->bytes, data, length) == 0;
}

/* The daemon looks whether it is the manifest that it should be. */
static int take_manifest(struct quest *q, struct error *err)
{
	struct daemon_answer answer AUTO(daemon_answer_done) = {0};
	json_t *text = json_stringn((const char *)buffer_head(&q->bytes), q->bytes.len);

	if (!text)
		return fail(err, -EBADMSG, "the manifest is no text");
	return daemon_ask(&q->haul->porter->daemon,
		json_pack("{s:s, s:s, s:o}", "op", "manifest", "digest", q->haul->digest, "text",
			text),
		&answer, err);
}

static int take(struct quest *q, struct error *err)
{
	struct haul *h = q->haul;
	int r;

	if (!q->cargo)
		return take_manifest(q, err);
	r = cargo_take_index(
		q->cargo, buffer_head(&q->bytes), q->bytes.len, h->porter->holdings, err);
	if (r == 0)
		r = syncer_add(h->syncer, q->cargo->assembly);
	return r;
}

static void on_end(void *userdata, int status, const char *why)
{
	struct quest *q = userdata;
	struct haul *h = q->haul;
	struct error err = {0};
	int r;

	q->errand = NULL;
	if (status == 200 && q->bytes.len > 0) {
		r = take(q, &err);
		q->done = r == 0;
		if (r == -EREMOTEIO)
			snprintf(h->reason, sizeof(h->reason), "%.250s", err.text);
		else if (r == -EBADMSG)
			haul_ban(h, q->source, q->path, err.text);
		else if (r < 0)
			h->failure = err;
		h->heard_us = clock_now_us();
	} else if (status == 0 && haul_take_outsider(h, q->source, why)) {
		q->source--; /* once more */
	} else {
		snprintf(h->reason, sizeof(h->reason), "'%s' does not give %s: %s",
			h->sources[q->source].url, q->path,
			status == 0     ? why
			: status == 503 ? "it is busy"
					: "it has none");
	}
	buffer_done(&q->bytes);
	if (!q->done)
		q->source++;
}

/* The next one that may be asked; -ENOENT: none is left in this round. */
static int find_source(const struct quest *q)
{
	const struct haul *h = q->haul;

	for (size_t i = q->source; i < SWARM_SOURCES_MAX; i++) {
		const struct source *s = &h->sources[i];

		if (s->used && s->listed && !json_object_get(h->porter->banned, s->node))
			return (int)i;
	}
	return -ENOENT;
}

/* Who is silent keeps nobody from asking the next one. A source that is only slow gets more time in
 * each round. */
static bool is_stalled(const struct quest *q, uint64_t now_us)
{
	uint64_t us = MIN_OF(SWARM_STALL_US * (1 + q->tries), STALL_MAX_US);

	return q->errand && now_us >= q->heard_us + us;
}

static void end_stalled(struct quest *q)
{
	errand_cancel(q->errand);
	q->errand = NULL;
	on_end(q, 0, "it is silent");
}

void quest_work(struct quest *q, uint64_t now_us)
{
	const struct errand_calls calls = {on_data, on_end, q};
	struct errand_address address;
	int source;

	if (is_stalled(q, now_us))
		end_stalled(q);
	if (q->done || q->errand || now_us < q->next_us)
		return;
	source = find_source(q);
	if (source < 0) {
		q->source = 0;
		q->tries++;
		q->next_us = now_us + MIN_OF(PAUSE_US * q->tries, 4 * SECOND);
		return;
	}
	q->source = (size_t)source;
	q->heard_us = now_us;
	haul_address(q->haul, q->source, &address);
	q->errand =
		carrier_start(q->haul->porter->carrier, &address, q->path, NULL, q->max, &calls);
	if (!q->errand)
		q->next_us = now_us + SECOND;
}

void quest_done(struct quest *q)
{
	if (q->errand)
		errand_cancel(q->errand);
	q->errand = NULL;
	buffer_done(&q->bytes);
}
