#include "depot/fill_private.h"

#include <errno.h>
#include <stdio.h>

#include "lib/clock.h"

#define SYNC_US      UINT64_C(2000000)     /* what may be lost by a kill */
#define SYNC_BYTES   (UINT64_C(256) << 20) /* what may be lost by a kill, on fast machines */
#define PROGRESS_US  UINT64_C(200000)
#define SETTLING_MAX 4 /* jobs ahead of each thread's work, more or less */
#define WAIT_MS      200

void fill_fail(struct fill_state *s, const struct error *err)
{
	if (s->err.code)
		return;
	s->err = *err;
	s->ended = true;
	http_cancel(s->fill->http);
}

void fill_fail_chunk(struct fill_state *s, size_t chunk)
{
	const struct origins *o = s->fill->origins;
	char id[DIGEST_HEX_SIZE];
	struct error err = {0};
	size_t used;

	digest_format(assembly_index(s->fill->assembly)->chunks[chunk].id, id);
	fail(&err, -ENODATA, "chunk %.16s is to be had nowhere", id);
	for (size_t i = 0; i < o->count; i++) {
		used = strlen(err.text);
		snprintf(err.text + used, sizeof(err.text) - used, "%s '%s': %s",
			i == 0 ? ":" : ";", o->items[i].text,
			o->items[i].reason.code ? o->items[i].reason.text : "it has no such chunk");
	}
	fill_fail(s, &err);
}

struct sync_job {
	struct fill_job fill;
	struct error err;
};

static void sync_run(struct crew_job *job)
{
	struct sync_job *j = (struct sync_job *)job;

	(void)assembly_sync(j->fill.state->fill->assembly, &j->err);
}

static void sync_end(struct fill_job *job)
{
	struct sync_job *j = (struct sync_job *)job;

	j->fill.state->syncing = false;
	j->fill.state->synced_us = clock_now_us();
	if (j->err.code)
		fill_fail(j->fill.state, &j->err);
	free(j);
}

/* A failure to begin it only means that more is lost by a kill. */
static void sync_if_due(struct fill_state *s)
{
	struct assembly_state state;
	struct sync_job *j;

	assembly_get_state(s->fill->assembly, &state);
	if (s->syncing || state.unsynced == 0 ||
		(state.unsynced < SYNC_BYTES && clock_now_us() < s->synced_us + SYNC_US))
		return;
	j = calloc(1, sizeof(*j));
	if (!j)
		return;
	j->fill.job.run = sync_run;
	j->fill.end = sync_end;
	j->fill.state = s;
	s->syncing = true;
	crew_give(s->fill->crew, &j->fill.job);
}

static void show_if_due(struct fill_state *s)
{
	uint64_t now = clock_now_us();

	if (!s->fill->on_progress || now < s->shown_us + PROGRESS_US)
		return;
	s->shown_us = now;
	s->fill->on_progress(s->fill, s->fill->userdata);
}

static void take_done(struct fill_state *s)
{
	struct fill_job *job;

	while ((job = (struct fill_job *)crew_take(s->fill->crew)))
		job->end(job);
}

static bool is_settled(const struct fill_state *s)
{
	return s->next_chunk >= assembly_index(s->fill->assembly)->count;
}

static void settle_some(struct fill_state *s)
{
	while (!s->err.code && !is_settled(s) && crew_pending(s->fill->crew) < SETTLING_MAX)
		if (fill_settle(s) < 0) {
			struct error err = {0};

			fail(&err, -ENOMEM, "out of memory");
			fill_fail(s, &err);
		}
}

static void fill_loop(struct fill_state *s)
{
	for (;;) {
		uint32_t wait_ms = WAIT_MS;

		take_done(s);
		settle_some(s);
		if (!s->err.code)
			wait_ms = fill_ask(s, WAIT_MS);
		if (crew_pending(s->fill->crew) == 0 && http_active(s->fill->http) == 0 &&
			(s->err.code || (is_settled(s) && !s->wanted.first)))
			return;
		if (http_run(s->fill->http, wait_ms) < 0) {
			struct error err = {0};

			fail(&err, -EIO, "cannot wait for web servers");
			fill_fail(s, &err); /* and jobs are waited for */
		}
		sync_if_due(s);
		show_if_due(s);
	}
}

int fill_run(struct fill *fill, struct error *err)
{
	struct fill_state s = {.fill = fill, .synced_us = clock_now_us()};

	want_list_init(&s.wanted);
	fill_loop(&s);
	want_list_done(&s.wanted);
	if (!s.err.code && !assembly_is_complete(fill->assembly))
		fail(&s.err, -EIO, "the image could not be put together"); /* our mistake */
	if (!s.err.code)
		return 0;
	/* What has come is worth keeping, whatever the failure was. */
	(void)assembly_sync(fill->assembly, NULL);
	return fail(err, s.err.code, "%s", s.err.text);
}
