/* Chunks that are near: a job looks at some of them in a row, one after the other. */
#include <errno.h>

#include "depot/fill_private.h"

#define SETTLE_BYTES (UINT64_C(4) << 20) /* of a job: little enough to go evenly */
#define SETTLE_MAX   4096                /* chunks of a job; zeros cost nothing */

struct settle_job {
	struct fill_job fill;
	size_t from, to;
	struct want_list wanted;
	struct fill_counts counts;
	struct error reasons[ORIGINS_MAX]; /* of directories */
	struct error err;                  /* code 0: it has worked */
};

/* Tries the directories. Returns 1, 0 if no one has it, or negative errno. */
static int settle_from_directories(struct settle_job *j, size_t i)
{
	struct fill *f = j->fill.state->fill;
	const struct caibx_chunk *chunk = &assembly_index(f->assembly)->chunks[i];
	char path[sizeof("chunks/") + CHUNK_PATH_SIZE] = "chunks/";
	int r = 0;

	chunk_format_path(chunk->id, path + strlen(path));
	for (size_t n = 0; r == 0 && n < f->origins->count; n++) {
		struct origin *o = &f->origins->items[n];
		struct buffer packed AUTO(buffer_done) = {0};

		if (o->url)
			continue;
		r = origin_read(o, path, CHUNK_PACKED_MAX, &packed);
		if (r < 0) {
			fail_errno(&j->reasons[n], r, "cannot read '%s'", path);
			r = r == -ENOMEM ? fail(&j->err, r, "out of memory") : 0;
			continue;
		}
		r = assembly_put_packed(f->assembly, i, buffer_head(&packed), packed.len, &j->err);
		if (r == -EBADMSG) {
			j->reasons[n] = j->err;
			j->err.code = r = 0;
			continue;
		}
		if (r == 0) {
			o->chunks++;
			o->bytes += packed.len;
			r = 1;
		}
	}
	return r;
}

/* Returns 0 when it is there or wanted, or negative errno. */
static int settle_chunk(struct settle_job *j, size_t i)
{
	struct fill *f = j->fill.state->fill;
	const struct caibx_chunk *chunk = &assembly_index(f->assembly)->chunks[i];
	struct want *w;
	int r;

	if (!assembly_is_first(f->assembly, i) || !assembly_wants(f->assembly, i))
		return 0;
	r = assembly_check(f->assembly, i, &j->err);
	if (r != 0) {
		j->counts.resumed += r > 0 ? chunk->size : 0;
		return r;
	}
	r = inventory_copy(f->inventory, f->assembly, i, &j->err);
	if (r != 0) {
		j->counts.reused += r > 0 ? chunk->size : 0;
		return r;
	}
	r = settle_from_directories(j, i);
	if (r != 0) {
		j->counts.fetched += r > 0 ? chunk->size : 0;
		return r;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return fail(&j->err, -ENOMEM, "out of memory");
	w->chunk = i;
	w->state = j->fill.state;
	want_list_add(&j->wanted, w);
	return 0;
}

static void settle_run(struct crew_job *job)
{
	struct settle_job *j = (struct settle_job *)job;
	int r = 0;

	for (size_t i = j->from; r >= 0 && i < j->to && !j->fill.state->ended; i++)
		r = settle_chunk(j, i);
	if (r >= 0)
		j->err.code = 0; /* of what did not matter */
}

static void settle_end(struct fill_job *job)
{
	struct settle_job *j = (struct settle_job *)job;
	struct fill_state *s = j->fill.state;
	struct fill *f = s->fill;

	f->counts.resumed += j->counts.resumed;
	f->counts.reused += j->counts.reused;
	f->counts.fetched += j->counts.fetched;
	for (size_t n = 0; n < f->origins->count; n++)
		if (j->reasons[n].code)
			f->origins->items[n].reason = j->reasons[n];
	if (j->err.code)
		fill_fail(s, &j->err);
	want_list_move(&s->wanted, &j->wanted);
	want_list_done(&j->wanted);
	free(j);
}

int fill_settle(struct fill_state *s)
{
	const struct caibx *x = assembly_index(s->fill->assembly);
	struct settle_job *j = calloc(1, sizeof(*j));
	uint64_t bytes = 0;

	if (!j)
		return -ENOMEM;
	j->fill.job.run = settle_run;
	j->fill.end = settle_end;
	j->fill.state = s;
	want_list_init(&j->wanted);
	j->from = j->to = s->next_chunk;
	while (j->to < x->count && bytes < SETTLE_BYTES && j->to - j->from < SETTLE_MAX) {
		if (!assembly_has(s->fill->assembly, j->to))
			bytes += x->chunks[j->to].size;
		j->to++;
	}
	s->next_chunk = j->to;
	crew_give(s->fill->crew, &j->fill.job);
	return 0;
}
