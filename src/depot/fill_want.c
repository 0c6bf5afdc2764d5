/* Chunks that are to come from web servers: the list of them, the requests, and what comes. */
#include <errno.h>
#include <stdio.h>

#include "depot/fill_private.h"
#include "lib/clock.h"

#define ASKED_MAX    16 /* requests at once */
#define BODIES_MAX   48 /* with answers that are not unpacked yet: that many MiB at most */
#define ATTEMPTS_MAX 8  /* for one chunk, of one server that is otherwise well */
#define CHUNK_MS     60000

void want_list_init(struct want_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

void want_list_add(struct want_list *l, struct want *w)
{
	w->next = NULL;
	*l->end = w;
	l->end = &w->next;
}

void want_list_add_first(struct want_list *l, struct want *w)
{
	w->next = l->first;
	if (!l->first)
		l->end = &w->next;
	l->first = w;
}

void want_list_move(struct want_list *to, struct want_list *from)
{
	if (!from->first)
		return;
	*to->end = from->first;
	to->end = from->end;
	want_list_init(from);
}

struct want *want_list_take(struct want_list *l)
{
	struct want *w = l->first;

	if (w) {
		l->first = w->next;
		if (!l->first)
			l->end = &l->first;
	}
	return w;
}

void want_list_done(struct want_list *l)
{
	struct want *w;

	while ((w = want_list_take(l)))
		free(w);
}

/* A chunk that has come. */
struct body_job {
	struct fill_job fill;
	struct want *want;
	struct buffer body;
	struct error err;
};

static struct origin *asked(const struct want *w)
{
	return &w->state->fill->origins->items[w->origin];
}

static void body_run(struct crew_job *job)
{
	struct body_job *j = (struct body_job *)job;

	(void)assembly_put_packed(j->fill.state->fill->assembly, j->want->chunk,
		buffer_head(&j->body), j->body.len, &j->err);
}

static void want_end(struct want *w, const struct error *err)
{
	struct fill_state *s = w->state;

	s->bodies--;
	if (err->code == 0) {
		free(w);
		return;
	}
	w->tried |= 1U << w->origin;
	want_list_add_first(&s->wanted, w);
}

static void body_end(struct fill_job *job)
{
	struct body_job *j = (struct body_job *)job;
	struct fill_state *s = j->fill.state;
	struct origin *o = asked(j->want);

	if (j->err.code == 0) {
		o->chunks++;
		o->bytes += j->body.len;
		s->fill->counts.fetched +=
			assembly_index(s->fill->assembly)->chunks[j->want->chunk].size;
	} else if (j->err.code == -EBADMSG) {
		origin_set_bad(o, &j->err);
	} else {
		fill_fail(s, &j->err);
	}
	want_end(j->want, &j->err);
	buffer_done(&j->body);
	free(j);
}

static void give_body(struct want *w, struct buffer *body)
{
	struct body_job *j = calloc(1, sizeof(*j));
	struct error err = {0};

	if (!j) {
		fail(&err, -ENOMEM, "out of memory");
		fill_fail(w->state, &err);
		want_end(w, &err);
		return;
	}
	j->fill.job.run = body_run;
	j->fill.end = body_end;
	j->fill.state = w->state;
	j->want = w;
	j->body = *body;
	*body = (struct buffer){0};
	crew_give(w->state->fill->crew, &j->fill.job);
}

/* A server that fails is asked again; if it is well otherwise, not for ever for the same chunk. */
static void on_server_failed(struct want *w, const struct error *err)
{
	struct fill_state *s = w->state;

	origin_set_failed(asked(w), err, clock_now_us(), s->fill->patience_us);
	s->bodies--;
	if (++w->attempts % ATTEMPTS_MAX == 0)
		w->tried |= 1U << w->origin;
	want_list_add_first(&s->wanted, w);
}

static void on_answer(struct buffer *body, const struct error *err, void *userdata)
{
	struct want *w = userdata;

	if (err->code == 0) {
		origin_set_good(asked(w));
		give_body(w, body);
	} else if (err->code == -ENOMEM) {
		fill_fail(w->state, err);
		want_end(w, err);
	} else if (origin_is_to_blame(err)) {
		on_server_failed(w, err);
	} else {
		asked(w)->reason = *err;
		want_end(w, err);
	}
}

/* The first origin that may have the chunk and may be asked now. Returns 1; 0 and when there may be
 * one; or -ENODATA. */
static int choose(const struct want *w, uint64_t now_us, size_t *ret_origin, uint64_t *ret_when_us)
{
	const struct origins *o = w->state->fill->origins;
	int r = -ENODATA;

	*ret_when_us = UINT64_MAX;
	for (size_t i = 0; i < o->count; i++) {
		const struct origin *item = &o->items[i];

		if (!item->url || item->given_up || (w->tried >> i & 1))
			continue;
		if (origin_is_ready(item, now_us)) {
			*ret_origin = i;
			return 1;
		}
		*ret_when_us = MIN_OF(*ret_when_us, item->rest_until_us);
		r = 0;
	}
	return r;
}

static void ask_for(struct want *w, size_t origin)
{
	struct fill_state *s = w->state;
	const struct caibx_chunk *chunk = &assembly_index(s->fill->assembly)->chunks[w->chunk];
	char path[sizeof("chunks/") + CHUNK_PATH_SIZE] = "chunks/";
	struct error err = {0};
	int r;

	chunk_format_path(chunk->id, path + strlen(path));
	w->origin = origin;
	s->bodies++;
	r = origin_get(&s->fill->origins->items[origin], s->fill->http, path, CHUNK_PACKED_MAX,
		CHUNK_MS, on_answer, w);
	if (r < 0) {
		fail_errno(&err, r, "cannot ask '%s'", s->fill->origins->items[origin].text);
		fill_fail(s, &err);
		want_end(w, &err);
	}
}

uint32_t fill_ask(struct fill_state *s, uint32_t max_ms)
{
	uint64_t now = clock_now_us(), when = 0;
	struct want *w;

	while (!s->err.code && http_active(s->fill->http) < ASKED_MAX && s->bodies < BODIES_MAX &&
		(w = want_list_take(&s->wanted))) {
		size_t origin = 0;
		int r = choose(w, now, &origin, &when);

		if (r > 0) {
			ask_for(w, origin);
			continue;
		}
		if (r < 0)
			fill_fail_chunk(s, w->chunk);
		want_list_add_first(&s->wanted, w);
		if (r == 0)
			return (uint32_t)MIN_OF((when - now) / 1000 + 1, (uint64_t)max_ms);
	}
	return max_ms;
}
