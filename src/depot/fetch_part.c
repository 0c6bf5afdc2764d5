/* One part: its index, its chunks, and that all of it is right. */
#include <errno.h>
#include <stdio.h>

#include "depot/document.h"
#include "depot/fetch_private.h"

#define INDEX_MS    600000 /* 64 MiB take so long at 110 kB/s */
#define MANIFEST_MS 60000

/* How large may the index of so much be? With chunks of the smallest size, and a little. */
static size_t index_max(uint64_t size)
{
	return (size_t)MIN_OF((uint64_t)CAIBX_BYTES_MAX, size / CAIBX_CHUNK_MIN * 40 + 1024);
}

struct index_check {
	const struct fetch_part *part;
	struct caibx *index;
	uint8_t digest[DIGEST_SIZE];
};

static int check_index(const struct buffer *bytes, void *userdata, struct error *err)
{
	struct index_check *c = userdata;
	char hex[DIGEST_HEX_SIZE];
	int r = digest_raw(buffer_head(bytes), bytes->len, c->digest);

	if (r < 0)
		return fail_errno(err, r, "cannot hash the index");
	digest_format(c->digest, hex);
	if (c->part->release && !streq(hex, c->part->release->index))
		return fail(err, -EBADMSG, "its index is %.12s, not %.12s as the release says", hex,
			c->part->release->index);
	r = caibx_parse(buffer_head(bytes), bytes->len, &c->index, err);
	if (r == 0 && c->index->size != c->part->part.size) {
		r = fail(err, -EBADMSG, "its index is of %llu bytes, and the image's part has %llu",
			(unsigned long long)c->index->size, (unsigned long long)c->part->part.size);
		c->index = caibx_free(c->index);
	}
	return r;
}

static int get_index(struct fetch *f, struct fetch_part *p, uint32_t skip, struct index_check *ret,
	size_t *ret_origin, struct error *err)
{
	char path[sizeof("index/.caibx") + DIGEST_HEX_SIZE];
	const struct document d = {.path = path,
		.max = index_max(p->part.size),
		.timeout_ms = INDEX_MS,
		.patience_us = f->patience_us,
		.skip = skip,
		.check = check_index,
		.userdata = ret};

	snprintf(path, sizeof(path), "index/%s.caibx", p->part.digest);
	ret->part = p;
	buffer_done(&p->index);
	return document_get(&d, &f->origins, f->http, &p->index, ret_origin, err);
}

static uint64_t received(const struct fetch *f)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < f->origins.count; i++)
		bytes += f->origins.items[i].bytes;
	return bytes;
}

static void on_progress(const struct fill *fill, void *userdata)
{
	const struct fetch *f = userdata;
	struct fetch_progress progress = {.total = f->result->total, .received = received(f)};
	struct assembly_state state;

	assembly_get_state(fill->assembly, &state);
	progress.done = f->finished + state.bytes;
	f->request->on_progress(&progress, f->request->userdata);
}

/* Returns 0 when the part is there, and on the disk. */
static int assemble(struct fetch *f, struct fetch_part *p, const struct index_check *c,
	struct assembly **ret, struct error *err)
{
	struct fill fill = {.inventory = f->inventory,
		.origins = &f->origins,
		.http = f->http,
		.crew = f->crew,
		.patience_us = f->patience_us,
		.on_progress = f->request->on_progress ? on_progress : NULL,
		.userdata = f};
	int r = assembly_open(c->index, c->digest, store_partial_fd(p->partial),
		store_partial_have_fd(p->partial), ret, err);

	if (r < 0)
		return r;
	fill.assembly = *ret;
	r = fill_run(&fill, err);
	f->result->counts.resumed += fill.counts.resumed;
	f->result->counts.reused += fill.counts.reused;
	f->result->counts.fetched += fill.counts.fetched;
	return r < 0 ? r : assembly_finish(*ret, err);
}

/* Whose index it was is asked for no other one. What was put stays only where its chunks may be
 * right.
 */
static int reject_index(
	struct fetch *f, struct assembly *a, size_t origin, uint32_t *skip, struct error *err)
{
	struct origin *o = &f->origins.items[origin];

	*skip |= 1U << origin;
	fail_within(err, "with the index of '%s'", o->text);
	o->reason = *err;
	return a && err->code == -EBADMSG ? assembly_reset(a, NULL) : 0;
}

/* With the index of one origin. Returns 0, or negative errno; `*ret_rejected` if another origin's
 * may be better. */
static int try_index(struct fetch *f, struct fetch_part *p, uint32_t *skip, bool *ret_rejected,
	struct error *err)
{
	struct assembly *a AUTO(assembly_freep) = NULL;
	struct index_check c = {0};
	size_t origin = 0;
	int r = get_index(f, p, *skip, &c, &origin, err);

	*ret_rejected = false;
	if (r < 0)
		return r;
	/* Kept from now on: should this fetch end, others can use what has come. */
	(void)store_put_index(
		f->request->store, p->part.digest, buffer_head(&p->index), p->index.len);
	r = assemble(f, p, &c, &a, err);
	if (r == 0 && !p->release)
		r = store_partial_verify(p->partial, p->part.size, err);
	if ((r == -EBADMSG || r == -ENODATA) && !p->release) {
		*ret_rejected = true;
		if (reject_index(f, a, origin, skip, err) < 0)
			*ret_rejected = false;
	}
	a = assembly_free(a);
	caibx_free(c.index);
	return r;
}

int fetch_part_run(struct fetch *f, struct fetch_part *p, struct error *err)
{
	struct error first = {0};
	bool rejected = false;
	uint32_t skip = 0;
	int r;

	do {
		r = try_index(f, p, &skip, &rejected, err);
		if (rejected && !first.code)
			first = *err;
	} while (rejected);
	/* No other origin has one: what was wrong with the first one's says more. */
	if (r == -ENODATA && first.code)
		return fail(err, first.code, "%s", first.text);
	if (r == 0)
		f->finished += p->part.size;
	return r;
}

static int check_manifest(const struct buffer *bytes, void *userdata, struct error *err)
{
	struct fetch *f = userdata;
	char is[DIGEST_HEX_SIZE];
	int r = digest_bytes(buffer_head(bytes), bytes->len, is);

	if (r < 0)
		return fail_errno(err, r, "cannot hash the manifest");
	if (!streq(is, f->request->digest))
		return fail(
			err, -EBADMSG, "its manifest is %.12s, not %.12s", is, f->request->digest);
	return manifest_parse((const char *)buffer_head(bytes), bytes->len, &f->manifest, err);
}

int fetch_manifest(struct fetch *f, struct error *err)
{
	char path[sizeof("manifest/.json") + DIGEST_HEX_SIZE];
	const struct document d = {.path = path,
		.max = MANIFEST_BYTES_MAX,
		.timeout_ms = MANIFEST_MS,
		.patience_us = f->patience_us,
		.check = check_manifest,
		.userdata = f};
	size_t origin;
	int r;

	snprintf(path, sizeof(path), "manifest/%s.json", f->request->digest);
	r = document_get(&d, &f->origins, f->http, &f->manifest_text, &origin, err);
	if (r == 0 && f->request->release)
		r = release_check(f->request->release, f->manifest, err);
	return r;
}
