#include "depot/publish.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include "depot/scan.h"

/* Used by the threads of a scan. */
struct publication {
	const struct publish_request *request;
	struct publish_result *result;
	struct caibx *indexes[MANIFEST_PARTS_MAX]; /* of the parts that are new */
	uint64_t before;                           /* bytes of the parts before this one */
	atomic_ullong chunks, new_chunks, new_bytes, new_file_bytes;
};

void publish_done(struct publish_result *result)
{
	result->release = release_free(result->release);
}

/* A thread's memory for a packed chunk, kept until the thread ends, would have to be freed then;
 * that of one chunk is soon had. */
static int put_chunk(
	struct publication *p, const struct caibx_chunk *chunk, const void *data, struct error *err)
{
	struct buffer packed AUTO(buffer_done) = {0};
	int r = chunk_pack(data, chunk->size, &packed);

	if (r < 0)
		return fail_errno(err, r, "cannot compress");
	r = depot_put_chunk(p->request->depot, chunk->id, buffer_head(&packed), packed.len, err);
	if (r < 0)
		return r;
	atomic_fetch_add(&p->new_chunks, 1);
	atomic_fetch_add(&p->new_bytes, chunk->size);
	atomic_fetch_add(&p->new_file_bytes, packed.len);
	return 0;
}

static int on_chunk(
	const struct caibx_chunk *chunk, const void *data, void *userdata, struct error *err)
{
	struct publication *p = userdata;

	atomic_fetch_add(&p->chunks, 1);
	if (depot_has_chunk(p->request->depot, chunk->id))
		return 0;
	return put_chunk(p, chunk, data, err);
}

static void on_bytes(uint64_t done, void *userdata)
{
	const struct publication *p = userdata;

	if (p->request->on_bytes)
		p->request->on_bytes(p->before + done, p->result->bytes, p->request->userdata);
}

static int publish_chunks(
	struct publication *p, const struct image_part *part, struct caibx **ret, struct error *err)
{
	autoclose int fd = store_open_part(p->request->store, part, err);
	const struct scan scan = {.threads = p->request->threads,
		.on_chunk = on_chunk,
		.on_bytes = on_bytes,
		.userdata = p};

	return fd < 0 ? fd : scan_file(fd, part->size, &scan, ret, err);
}

static int publish_part(
	struct publication *p, const struct image_part *part, struct caibx **ret, struct error *err)
{
	char what[] = "publishing the initrd", digest[DIGEST_HEX_SIZE];
	int r = 0;

	snprintf(what, sizeof(what), "publishing the %s", manifest_kind_name(part->kind));
	if (p->request->on_step)
		p->request->on_step(what, p->request->userdata);
	if (!depot_has_index(p->request->depot, part->digest, part->size, digest))
		r = publish_chunks(p, part, ret, err);
	p->before += part->size;
	on_bytes(0, p);
	return r < 0 ? fail_within(err, "cannot publish the %s", manifest_kind_name(part->kind))
		     : 0;
}

static int publish_index(struct publication *p, const struct image_part *part,
	const struct caibx *x, struct error *err)
{
	struct buffer bytes AUTO(buffer_done) = {0};
	char digest[DIGEST_HEX_SIZE];

	if (caibx_format(x, &bytes) < 0)
		return fail(err, -ENOMEM, "out of memory");
	if (depot_put_index(p->request->depot, part->digest, buffer_head(&bytes), bytes.len, digest,
		    err) < 0)
		return fail_within(err, "cannot publish the %s", manifest_kind_name(part->kind));
	return 0;
}

/* All chunks before the first index: then the disk is waited for once. */
static int publish_parts(struct publication *p, const struct manifest *m, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < m->part_count && r >= 0; i++)
		r = publish_part(p, &m->parts[i], &p->indexes[i], err);
	for (size_t i = 0; i < m->part_count && r >= 0; i++)
		if (p->indexes[i])
			r = publish_index(p, &m->parts[i], p->indexes[i], err);
	for (size_t i = 0; i < m->part_count; i++)
		p->indexes[i] = caibx_free(p->indexes[i]);
	return r;
}

static int publish_manifest(
	const struct publish_request *request, struct publish_result *ret, struct error *err)
{
	autofree char *text = NULL;
	char digest[DIGEST_HEX_SIZE];
	size_t length;
	int r = store_get_manifest(request->store, request->image->digest, &text, &length, err);

	if (r >= 0)
		r = depot_put_manifest(request->depot, text, length, digest, err);
	return r < 0 ? r
		     : release_load(request->depot, request->image->digest, request->image->name,
			       &ret->release, err);
}

int publish_image(
	const struct publish_request *request, struct publish_result *ret, struct error *err)
{
	const struct manifest *m = request->image->manifest;
	struct publication p = {.request = request, .result = ret};
	int r = depot_hold(request->depot, err);

	if (r < 0)
		return r;
	*ret = (struct publish_result){0};
	for (size_t i = 0; i < m->part_count; i++)
		ret->bytes += m->parts[i].size;
	r = publish_parts(&p, m, err);
	if (r >= 0)
		r = publish_manifest(request, ret, err);
	depot_release(request->depot);
	ret->chunks = p.chunks;
	ret->new_chunks = p.new_chunks;
	ret->new_bytes = p.new_bytes;
	ret->new_file_bytes = p.new_file_bytes;
	return r;
}
