#include "controller/upload.h"

#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/budget.h"
#include "controller/controller.h"
#include "controller/image.h"
#include "controller/piece.h"
#include "depot/depot.h"
#include "lib/log.h"
#include "lib/openssl.h"

static int check_depot(struct exchange *x)
{
	return x->controller->depot
		       ? 0
		       : exchange_fail(x, 404,
				 "this controller has no depot of its own ([controller] depot); "
				 "publish to the directory that the site's origin serves");
}

/* The status for what a depot has refused. */
static int fail_depot(struct exchange *x, int code, const struct error *err)
{
	switch (code) {
	case -ENOENT:
		return exchange_fail(x, 409, "something is missing: %s", err->text);
	case -EBADMSG:
	case -EINVAL:
		return exchange_fail(x, 400, "it is not taken: %s", err->text);
	case -ENOSPC:
	case -EDQUOT:
		log_warning("%s", err->text);
		return exchange_fail(x, 507,
			"the depot's disk is full, and nothing of this was kept; what is there is "
			"sound: have its administrators make room, and publish again, it goes on "
			"from here");
	case -EBUSY:
		return exchange_fail(x, 503, "the depot is being cleaned; try again");
	default:
		log_warning("the depot: %s", err->text);
		return exchange_fail(x, 500, "the controller has failed; its log has the reason");
	}
}

struct question {
	json_t *chunks;
};

static const struct field question_fields[] = {
	{"chunks", FIELD_LIST, offsetof(struct question, chunks), 0, UPLOAD_IDS_MAX, true, NULL,
		"Ids of chunks"},
	{.name = NULL},
};

static int run_missing(struct exchange *x, struct sql *db)
{
	struct question q = {0};
	uint8_t id[CHUNK_ID_SIZE];
	json_t *missing, *item;
	size_t i;
	int status = body_parse(x, &q);

	if (status == 0)
		status = check_depot(x);
	if (status)
		return status;
	missing = json_array();
	json_array_foreach(q.chunks, i, item)
	{
		const char *hex = json_string_value(item);

		if (!hex || digest_parse(hex, id) < 0) {
			json_decref(missing);
			return exchange_fail(x, 400, "'chunks' are not all SHA-256");
		}
		if (!depot_has_chunk(x->controller->depot, id))
			json_array_append(missing, item);
	}
	return exchange_answer(x, 200, json_pack("{s:o}", "missing", missing));
}

/* Returns how many there are, or negative errno. */
static int verify_pieces(const struct exchange *x, struct error *err)
{
	autofree uint8_t *room = malloc(CHUNK_SIZE_MAX);
	struct piece p;
	size_t at = 0;
	int count = 0, r;

	if (!room)
		return fail(err, -ENOMEM, "out of memory");
	for (; (r = piece_next(x->upload.data, x->upload.length, &at, &p, err)) > 0; count++)
		if (chunk_unpack(p.id, p.packed, p.length, room, p.size, err) < 0)
			return fail_within(err, "chunk %d", count);
	return r < 0 ? r : count;
}

static int put_pieces(const struct exchange *x, struct depot *d, struct error *err)
{
	struct error unused = {0};
	struct piece p;
	size_t at = 0;
	int r = depot_hold(d, err);

	if (r < 0)
		return r;
	while (r == 0 && piece_next(x->upload.data, x->upload.length, &at, &p, &unused) > 0)
		r = depot_put_chunk(d, p.id, p.packed, p.length, err);
	if (r == 0)
		r = depot_commit(d, err);
	depot_release(d);
	return r;
}

/* Whoever has no role has sent enough when it is more than may be published. */
static int check_budget(struct exchange *x)
{
	const struct controller_settings *s = controller_get_settings(x->controller);

	if (x->caller.roles & (ROLE_ENDORSER | ROLE_ADMINISTRATOR))
		return 0;
	if (s->private_images == 0)
		return exchange_fail(
			x, 403, "users have no images of their own at this site (private_images)");
	return budget_take(x->controller->budget, x->caller.name, x->upload.length, s->private_size,
		       x->now_us)
		       ? 0
		       : exchange_fail(x, 403,
				 "you have sent more than your private images may have together "
				 "(private_size); go on tomorrow");
}

static int run_chunks(struct exchange *x, struct sql *db)
{
	struct error err = {0};
	int count, r, status = check_depot(x);

	if (status == 0)
		status = check_budget(x);
	if (status)
		return status;
	count = verify_pieces(x, &err);
	r = count < 0 ? count : put_pieces(x, x->controller->depot, &err);
	return r < 0 ? fail_depot(x, r, &err)
		     : exchange_answer(x, 200, json_pack("{s:i}", "taken", count));
}

/* Feeds a hash with the file that an index describes. Zeros come many times in a row. */
static int hash_content(
	const struct depot *d, const struct caibx *index, EVP_MD_CTX *hash, struct error *err)
{
	autofree uint8_t *room = malloc(CHUNK_SIZE_MAX);
	const struct caibx_chunk *last = NULL;
	int r = room ? 0 : fail(err, -ENOMEM, "out of memory");

	for (size_t i = 0; i < index->count && r == 0; i++) {
		const struct caibx_chunk *c = &index->chunks[i];

		if (!last || last->size != c->size || memcmp(last->id, c->id, CHUNK_ID_SIZE) != 0)
			r = depot_get_chunk(d, c->id, room, c->size, err);
		if (r == 0 && EVP_DigestUpdate(hash, room, c->size) != 1)
			r = fail(err, -EIO, "cannot hash");
		last = c;
	}
	return r;
}

/* Is this file the blob? An index of another one would be found only by who has fetched it, and
 * keep all from publishing what is right. */
static int check_content(
	const struct depot *d, const char *blob, const struct caibx *index, struct error *err)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint8_t digest[EVP_MAX_MD_SIZE];
	char hex[DIGEST_HEX_SIZE] = "";
	int r = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1
			? hash_content(d, index, hash, err)
			: fail(err, -ENOMEM, "out of memory");

	if (r == 0 && EVP_DigestFinal_ex(hash, digest, NULL) != 1)
		r = fail(err, -EIO, "cannot hash");
	EVP_MD_CTX_free(hash);
	if (r < 0)
		return r;
	digest_format(digest, hex);
	return streq(hex, blob)
		       ? 0
		       : fail(err, -EBADMSG, "it is the index of %s, not of %s", hex, blob);
}

/* Is this very index there already? What is there was checked. */
static bool is_there(const struct exchange *x, const struct depot *d, const char *blob)
{
	struct caibx *index AUTO(caibx_freep) = NULL;
	char digest[DIGEST_HEX_SIZE];

	return digest_bytes(x->upload.data, x->upload.length, digest) == 0 &&
	       depot_get_index(d, blob, digest, &index, NULL, NULL) == 0 &&
	       depot_check_index(d, index, NULL) == 0;
}

static int put_index(struct exchange *x, struct depot *d, const char *blob,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct caibx *index AUTO(caibx_freep) = NULL;
	int r = caibx_parse(x->upload.data, x->upload.length, &index, err);

	if (r == 0)
		r = depot_check_index(d, index, err);
	if (r == 0 && !is_there(x, d, blob))
		r = check_content(d, blob, index, err);
	return r < 0 ? r
		     : depot_put_index(d, blob, x->upload.data, x->upload.length, ret_digest, err);
}

static int run_index(struct exchange *x, struct sql *db)
{
	struct depot *d = x->controller->depot;
	char digest[DIGEST_HEX_SIZE] = "";
	struct error err = {0};
	int r, status = check_depot(x);

	if (status == 0 && !digest_is_hex(x->params[0]))
		status = exchange_fail(x, 400, "'%.80s' is no SHA-256", x->params[0]);
	if (status == 0)
		status = check_budget(x);
	if (status)
		return status;
	r = depot_hold(d, &err);
	if (r == 0) {
		r = put_index(x, d, x->params[0], digest, &err);
		depot_release(d);
	}
	return r < 0 ? fail_depot(x, r, &err)
		     : exchange_answer(x, 200, json_pack("{s:s}", "index", digest));
}

static int check_part(const struct depot *d, json_t *part, struct error *err)
{
	struct caibx *index AUTO(caibx_freep) = NULL;
	const char *blob = json_string_value(json_object_get(part, "digest"));
	const char *is = json_string_value(json_object_get(part, "index"));
	int r = depot_get_index(d, blob, is, &index, NULL, err);

	if (r == 0 && index->size != (uint64_t)json_integer_value(json_object_get(part, "size")))
		return fail(err, -EBADMSG, "the index of %s is of another size", blob);
	return r;
}

int upload_finish(struct exchange *x, const char *manifest, json_t *parts)
{
	struct depot *d = x->controller->depot;
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};
	json_t *part;
	size_t i;
	int r;

	if (!d)
		return 0;
	r = depot_hold(d, &err);
	if (r < 0)
		return fail_depot(x, r, &err);
	json_array_foreach(parts, i, part) if (r == 0) r = check_part(d, part, &err);
	if (r == 0)
		r = depot_put_manifest(d, manifest, strlen(manifest), digest, &err);
	depot_release(d);
	return r < 0 ? fail_depot(x, r, &err) : 0;
}

#define PUBLISHERS (ROLE_USER | ROLE_ENDORSER | ROLE_ADMINISTRATOR)

const struct route upload_routes[] = {
	{"POST", "/v1/depot/missing", ROUTE_WORK, PUBLISHERS,
		"Tells which of these chunks are not in the depot", .body = question_fields,
		.run = run_missing},
	{"POST", "/v1/depot/chunks", ROUTE_WORK, PUBLISHERS,
		"Takes chunks: for each its id (32 bytes), size and packed length (4 bytes each, "
		"little-endian), and the packed bytes",
		.upload_max = UPLOAD_BYTES_MAX, .run = run_chunks},
	{"PUT", "/v1/depot/index/{blob}", ROUTE_WORK, PUBLISHERS,
		"Takes the index of a part whose chunks are all there",
		.upload_max = CAIBX_BYTES_MAX, .run = run_index},
	{.method = NULL},
};
