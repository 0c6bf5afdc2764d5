#include "depot/fetch_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "depot/have.h"

#define PATIENCE_US   UINT64_C(60000000)
#define LOCK_POLL_MS  100
#define ATTEMPTS_MAX  3 /* the collector may have taken a part that was there when we began */
#define INVENTORY_MAX 4096

static void fetch_done(struct fetch *f)
{
	for (size_t i = 0; i < f->part_count; i++) {
		store_partial_free(f->parts[i].partial);
		buffer_done(&f->parts[i].index);
	}
	f->part_count = 0;
	crew_free(f->crew);
	http_free(f->http);
	inventory_free(f->inventory);
	origins_done(&f->origins);
	buffer_done(&f->manifest_text);
	manifest_free(f->manifest);
}

void fetch_step(const struct fetch *f, const char *what)
{
	if (f->request->on_step)
		f->request->on_step(what, f->request->userdata);
}

static void wake(void *userdata)
{
	http_wake(userdata);
}

static int fetch_prepare(struct fetch *f, struct error *err)
{
	size_t threads = f->request->threads ? f->request->threads : crew_default_threads();
	int r = origins_open(&f->origins, f->request->origins, err);

	if (r < 0)
		return r;
	if (f->origins.count == 0)
		return fail(err, -EINVAL, "there is no place to fetch the image from");
	r = http_new(&f->request->http, &f->http);
	if (r == 0)
		r = inventory_new(&f->inventory);
	/* One more, which waits for the disk now and then. */
	if (r == 0)
		r = crew_new(threads + 1, wake, f->http, &f->crew);
	return r < 0 ? fail_errno(err, r, "cannot begin to fetch") : 0;
}

static int compare_parts(const void *a, const void *b)
{
	const struct fetch_part *x = a, *y = b;

	return strcmp(x->part.digest, y->part.digest);
}

/* In the order of their digests, in which everybody locks them. */
static void list_parts(struct fetch *f)
{
	f->part_count = f->manifest->part_count;
	for (size_t i = 0; i < f->part_count; i++) {
		f->parts[i] = (struct fetch_part){.part = f->manifest->parts[i]};
		if (f->request->release)
			f->parts[i].release =
				release_get_part(f->request->release, f->manifest->parts[i].kind);
		f->result->total += f->manifest->parts[i].size;
	}
	qsort(f->parts, f->part_count, sizeof(f->parts[0]), compare_parts);
}

/* Locks the part unless the store has it, also from who had the lock before. */
static int claim_part(struct fetch *f, struct fetch_part *p, struct error *err)
{
	const struct timespec pause = {.tv_nsec = LOCK_POLL_MS * 1000000L};
	bool told = false;

	for (;;) {
		int r;

		if (!store_has_part(f->request->store, &p->part))
			r = store_partial_open(f->request->store, p->part.digest, &p->partial, err);
		else
			r = 1;
		if (r == 0 && store_has_part(f->request->store, &p->part)) {
			/* It was finished between the two looks. */
			p->partial = store_partial_free(p->partial);
			r = 1;
		}
		if (r > 0) {
			store_partial_drop(f->request->store, p->part.digest);
			f->result->present += p->part.size;
		}
		if (r != -EWOULDBLOCK)
			return r;
		if (!told)
			fetch_step(f, "waiting for another process that fetches the same image");
		told = true;
		nanosleep(&pause, NULL);
	}
}

/* A blob, or the place of one that is being fetched. */
static int take_file(const char *digest, void *userdata)
{
	struct fetch *f = userdata;
	struct caibx *x AUTO(caibx_freep) = NULL;
	uint8_t index_digest[DIGEST_SIZE];
	autofree uint8_t *bits = NULL;
	autofree char *bytes = NULL;
	autoclose int fd = -1, have_fd = -1;
	size_t length;

	if (store_get_index(f->request->store, digest, CAIBX_BYTES_MAX, &bytes, &length) < 0 ||
		caibx_parse(bytes, length, &x, NULL) < 0)
		return 0;
	fd = store_open_blob(f->request->store, digest);
	if (fd < 0) {
		bits = malloc((x->count + 7) / 8 + 1);
		if (!bits || digest_raw(bytes, length, index_digest) < 0 ||
			store_peek_partial(f->request->store, digest, &fd, &have_fd) < 0 ||
			have_load(have_fd, x, index_digest, bits) <= 0)
			return 0;
	}
	(void)inventory_add(f->inventory, digest, fd, x, bits);
	return 0;
}

void fetch_take_inventory(struct fetch *f)
{
	(void)store_each_index(f->request->store, take_file, f);
}

static int fetch_parts(struct fetch *f, struct error *err)
{
	int r = 0;
	bool any = false;

	for (size_t i = 0; r >= 0 && i < f->part_count; i++) {
		r = claim_part(f, &f->parts[i], err);
		any = any || f->parts[i].partial;
	}
	f->finished = f->result->present;
	if (r < 0 || !any)
		return r < 0 ? r : 0;
	fetch_step(f, "fetching");
	fetch_take_inventory(f);
	for (size_t i = 0; r >= 0 && i < f->part_count; i++)
		if (f->parts[i].partial)
			r = fetch_part_run(f, &f->parts[i], err);
	return r < 0 ? r : 0;
}

/* From the first commit until the image is added, no garbage is collected. */
static int fetch_commit(struct fetch *f, struct error *err)
{
	int r = 0;

	fetch_step(f, "adding the image");
	for (size_t i = 0; r == 0 && i < f->part_count; i++)
		if (f->parts[i].partial)
			r = store_partial_commit(f->parts[i].partial, f->parts[i].part.size, err);
	return r < 0 ? r
		     : store_add_published(f->request->store,
			       (const char *)buffer_head(&f->manifest_text), f->manifest_text.len,
			       f->request->digest, f->request->name, f->request->tag, err);
}

static void set_sources(struct fetch *f)
{
	struct fetch_result *r = f->result;

	for (size_t i = 0; i < f->origins.count; i++) {
		const struct origin *o = &f->origins.items[i];
		struct fetch_source *source = &r->sources[r->source_count++];

		source->origin = strdup(o->text);
		source->bytes = o->bytes;
		source->chunks = o->chunks;
		r->received += o->bytes;
	}
}

/* Is all of the image in the store, maybe by another name? Then only the name is new. Returns 1, 0,
 * or negative errno. */
static int find_here(const struct fetch_request *q, struct fetch_result *ret, struct error *err)
{
	struct image *image AUTO(image_freep) = NULL;
	int r;

	if (store_find(q->store, q->digest, &image, NULL) < 0)
		return 0;
	for (size_t i = 0; i < image->manifest->part_count; i++) {
		if (!store_has_part(q->store, &image->manifest->parts[i]))
			return 0;
		ret->total += image->manifest->parts[i].size;
		store_partial_drop(q->store, image->manifest->parts[i].digest);
	}
	ret->present = ret->total;
	r = store_tag(q->store, image->digest, q->name, q->tag, err);
	return r < 0 ? r : 1;
}

static int fetch_once(
	const struct fetch_request *request, struct fetch_result *ret, struct error *err)
{
	struct fetch f AUTO(fetch_done) = {.request = request, .result = ret};
	int r;

	f.patience_us = request->patience_us ? request->patience_us : PATIENCE_US;
	r = fetch_prepare(&f, err);
	if (r == 0)
		r = fetch_manifest(&f, err);
	if (r == 0) {
		list_parts(&f);
		r = fetch_parts(&f, err);
	}
	if (r == 0)
		r = fetch_commit(&f, err);
	set_sources(&f);
	return r;
}

int fetch_image(const struct fetch_request *request, struct fetch_result *ret, struct error *err)
{
	int r = -ENOENT;

	for (int i = 0; r == -ENOENT && i < ATTEMPTS_MAX; i++) {
		if (i > 0)
			fetch_result_done(ret);
		*ret = (struct fetch_result){0};
		r = find_here(request, ret, err);
		if (r != 0)
			return r < 0 ? r : 0;
		*ret = (struct fetch_result){0};
		r = fetch_once(request, ret, err);
	}
	return r;
}

void fetch_result_done(struct fetch_result *r)
{
	for (size_t i = 0; i < r->source_count; i++)
		free(r->sources[i].origin);
	r->source_count = 0;
}
