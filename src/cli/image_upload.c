#include "cli/image_upload.h"

#include <endian.h>
#include <errno.h>

#include "cli/site_call.h"
#include "lib/file.h"

/* What the controller takes: chunks that are asked for at once, and bytes that are sent at once. */
#define IDS_MAX   10000
#define BATCH_MAX (8U << 20)

/* A part while it is sent. */
struct part {
	struct image_upload *upload;
	struct caibx *index;
	struct buffer batch;    /* chunks that are to be sent */
	uint64_t before, total; /* bytes of parts that were sent, and of all */
};

static void part_done(struct part *p)
{
	caibx_free(p->index);
	buffer_done(&p->batch);
}

static int flush(struct part *p, struct error *err)
{
	struct site_path path AUTO(site_path_done) = {0};
	int r;

	if (p->batch.len == 0)
		return 0;
	site_path_init(&path, "depot", "chunks", NULL);
	r = site_call_send("POST", &path, buffer_head(&p->batch), p->batch.len, NULL, err);
	p->upload->sent_bytes += p->batch.len;
	buffer_consume(&p->batch, p->batch.len);
	return r;
}

static int add_number(struct buffer *b, uint32_t number)
{
	const uint32_t bytes = htole32(number);

	return buffer_append(b, &bytes, sizeof(bytes));
}

/* A chunk as it is packed. */
static int add_chunk(struct part *p, const struct caibx_chunk *c, struct error *err)
{
	autofree char *packed = NULL;
	autoclose int fd = depot_open_chunk(p->upload->depot, c->id);
	char path[sizeof("/proc/self/fd/") + 12];
	size_t length;
	int r = fd < 0 ? fd : 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (r == 0)
		r = file_read(-1, path, CHUNK_PACKED_MAX, &packed, &length);
	if (r < 0)
		return fail_errno(
			err, r, "cannot read a chunk of '%s'", depot_directory(p->upload->depot));
	if (buffer_append(&p->batch, c->id, CHUNK_ID_SIZE) < 0 ||
		add_number(&p->batch, c->size) < 0 || add_number(&p->batch, (uint32_t)length) < 0 ||
		buffer_append(&p->batch, packed, length) < 0)
		return fail(err, -ENOMEM, "out of memory");
	p->upload->sent_chunks++;
	return p->batch.len >= BATCH_MAX ? flush(p, err) : 0;
}

/* The ids of some chunks, each once, as an object. */
static json_t *ids_new(const struct caibx *x, size_t from, size_t to)
{
	json_t *ids = json_object();
	char hex[DIGEST_HEX_SIZE];

	for (size_t i = from; ids && i < to; i++) {
		digest_format(x->chunks[i].id, hex);
		json_object_set_new(ids, hex, json_null());
	}
	return ids;
}

/* Takes `ids`. *ret is an object of those that the site does not have. */
static int ask_missing(json_t *ids, json_t **ret, struct error *err)
{
	struct site_path path AUTO(site_path_done) = {0};
	json_t *list = json_array(), *answer = NULL, *body, *id;
	const char *hex;
	size_t i;
	int r;

	json_object_foreach(ids, hex, id) json_array_append_new(list, json_string(hex));
	json_decref(ids);
	body = json_pack("{s:o}", "chunks", list);
	site_path_init(&path, "depot", "missing", NULL);
	r = body ? site_call_ask("POST", &path, body, NULL, &answer, err)
		 : fail(err, -ENOMEM, "out of memory");
	json_decref(body);
	*ret = json_object();
	json_array_foreach(json_object_get(answer, "missing"), i, id) if (json_is_string(id))
		json_object_set_new(*ret, json_string_value(id), json_null());
	json_decref(answer);
	return r;
}

/* Sends those of some chunks that the site does not have. */
static int send_some(struct part *p, size_t from, size_t to, struct error *err)
{
	json_t *missing = NULL;
	char hex[DIGEST_HEX_SIZE];
	int r = ask_missing(ids_new(p->index, from, to), &missing, err);

	for (size_t i = from; i < to && r == 0; i++) {
		const struct caibx_chunk *c = &p->index->chunks[i];

		digest_format(c->id, hex);
		if (json_object_del(missing, hex) == 0)
			r = add_chunk(p, c, err);
		if (p->upload->on_bytes && i % 64 == 0)
			p->upload->on_bytes(p->before + c->offset, p->total, NULL);
	}
	json_decref(missing);
	return r;
}

static int send_index(struct part *p, const char *blob, struct error *err)
{
	struct site_path path AUTO(site_path_done) = {0};
	struct buffer bytes AUTO(buffer_done) = {0};

	if (caibx_format(p->index, &bytes) < 0)
		return fail(err, -ENOMEM, "out of memory");
	site_path_init(&path, "depot", "index", blob, NULL);
	return site_call_send("PUT", &path, buffer_head(&bytes), bytes.len, NULL, err);
}

static int send_part(struct image_upload *u, const struct release_part *part, uint64_t before,
	uint64_t total, struct error *err)
{
	struct part p AUTO(part_done) = {.upload = u, .before = before, .total = total};
	int r = depot_get_index(u->depot, part->digest, part->index, &p.index, NULL, err);

	for (size_t i = 0; r == 0 && i < p.index->count; i += IDS_MAX)
		r = send_some(&p, i, MIN_OF(i + IDS_MAX, p.index->count), err);
	if (r == 0)
		r = flush(&p, err);
	return r < 0 ? r : send_index(&p, part->digest, err);
}

static int publish(struct image_upload *u, json_t **ret, struct error *err)
{
	struct site_path path AUTO(site_path_done) = {0};
	struct manifest *m AUTO(manifest_freep) = NULL;
	autofree char *manifest = NULL;
	json_t *release = release_to_json(u->release), *body;
	int r = depot_get_manifest(u->depot, u->release->digest, &m, &manifest, err);

	if (r < 0 || !release) {
		json_decref(release);
		return r < 0 ? r : fail(err, -ENOMEM, "out of memory");
	}
	body = json_pack("{s:s, s:s, s:s*, s:s, s:O, s:b, s:s*, s:s*, s:s*}", "digest",
		u->release->digest, "name", u->name, "tag", u->tag, "manifest", manifest, "parts",
		json_object_get(release, "parts"), "private", u->private, "state",
		u->endorsed ? "endorsed" : NULL, "expires", u->expires, "reason", u->reason);
	site_path_init(&path, "images", NULL);
	r = body ? site_call_ask("POST", &path, body, NULL, ret, err)
		 : fail(err, -ENOMEM, "out of memory");
	json_decref(body);
	json_decref(release);
	return r;
}

int image_upload_run(struct image_upload *u, json_t **ret, struct error *err)
{
	uint64_t total = 0, before = 0;
	int r = 0;

	for (size_t i = 0; i < u->release->part_count; i++)
		total += u->release->parts[i].size;
	for (size_t i = 0; i < u->release->part_count && r == 0; i++) {
		r = send_part(u, &u->release->parts[i], before, total, err);
		before += u->release->parts[i].size;
	}
	return r < 0 ? r : publish(u, ret, err);
}
