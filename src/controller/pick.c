#include "controller/pick.h"

#include <errno.h>

#include "controller/controller.h"
#include "controller/stock.h"
#include "depot/depot.h"
#include "lib/log.h"

/* Parts whose manifest or index may happen to have the same digest: more than one is damage. */
#define CANDIDATES_MAX 4

static void give_back_slot(struct exchange *x)
{
	stocks_give_back_slot(x->controller->stocks, x->slot);
}

/* The blob whose index has this SHA-256, among the parts of an image. */
static const char *find_blob(const json_t *parts, const char *index)
{
	const json_t *part;
	size_t i;

	json_array_foreach(parts, i, part)
	{
		const char *is = json_string_value(json_object_get(part, "index"));

		if (is && streq(is, index))
			return json_string_value(json_object_get(part, "digest"));
	}
	return NULL;
}

/* The catalogue knows which part it is. Returns the index, or NULL: it is not of this depot. */
static struct caibx *open_index(struct exchange *x, struct sql *db, const char *index)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	struct caibx *ret = NULL;
	struct error err = {0};
	int r = sql_select(db, &err, &rows,
		"SELECT parts_json FROM image WHERE parts_json LIKE '%' || ?1 || '%' LIMIT ?2",
		sql_text(index), sql_number(CANDIDATES_MAX));

	while (r >= 0 && !ret && (r = sql_rows_next(rows, &err)) > 0) {
		json_t *parts = json_loads(sql_rows_text(rows, 0), 0, NULL);
		const char *blob = find_blob(parts, index);

		if (blob &&
			depot_get_index(x->controller->depot, blob, index, &ret, NULL, &err) < 0)
			log_debug("no pick of it: %s", err.text);
		json_decref(parts);
	}
	if (r < 0)
		log_debug("the database: %s", err.text);
	return ret;
}

/* Returns a reference, or NULL: this controller does not have it. */
static struct stock *find_stock(struct exchange *x, struct sql *db, const struct pick *pick)
{
	struct stocks *stocks = x->controller->stocks;
	struct stock *s = stocks_find(stocks, pick->index);
	char index[DIGEST_HEX_SIZE];
	struct caibx *loaded;

	if (s || !db)
		return s;
	digest_format(pick->index, index);
	loaded = open_index(x, db, index);
	return loaded ? stocks_add(stocks, pick->index, loaded) : NULL;
}

/* Reads what was chosen. What cannot be read is left out: who asks gets it elsewhere, or is told
 * why not when it asks for it alone. Returns how many have been read, or -ENOMEM. */
static int read_chunks(struct exchange *x, const struct stock *s, const uint32_t *chunks,
	size_t count, struct pick_row *rows, struct buffer *ret)
{
	int done = 0;

	for (size_t i = 0; i < count; i++) {
		const struct caibx_chunk *chunk = &stock_index(s)->chunks[chunks[i]];
		size_t before = ret->len;
		int r = depot_read_chunk(x->controller->depot, chunk->id, ret);

		if (r == -ENOMEM)
			return r;
		if (r < 0)
			continue;
		if (ret->len > PICK_ANSWER_MAX) /* packed by others, and badly */
			break;
		rows[done++] = (struct pick_row){chunks[i], (uint32_t)(ret->len - before)};
	}
	return done;
}

/* A head that tells the lengths, then the chunks. Returns how many, or -ENOMEM. */
static int make_answer(struct exchange *x, const struct stock *s, const uint32_t *chunks,
	size_t count, struct buffer *ret)
{
	struct buffer packed AUTO(buffer_done) = {0};
	struct pick_row rows[PICK_CHUNKS_MAX];
	int done = read_chunks(x, s, chunks, count, rows, &packed);

	if (done <= 0)
		return done;
	if (pick_format_answer(rows, (size_t)done, ret) < 0 ||
		buffer_append(ret, buffer_head(&packed), packed.len) < 0)
		return -ENOMEM;
	return done;
}

static int answer(struct exchange *x, struct stock *s, const struct pick *pick)
{
	struct buffer bytes AUTO(buffer_done) = {0};
	uint32_t chunks[PICK_CHUNKS_MAX];
	size_t count = stock_pick(s, pick, chunks, PICK_CHUNKS_MAX);
	int made;

	if (count == 0)
		return exchange_answer_nothing(x);
	made = make_answer(x, s, chunks, count, &bytes);
	if (made > 0) {
		stocks_note_sent(x->controller->stocks, bytes.len);
		return exchange_answer_bytes(x, &bytes);
	}
	log_warning("the depot lacks chunks of an index, or they cannot be read");
	return exchange_fail(x, 500, "the controller has failed; its log has the reason");
}

static int run(struct exchange *x, struct sql *db)
{
	struct stock *s AUTO(stock_unrefp) = NULL;
	struct pick pick;
	int slot;

	if (pick_parse(x->upload.data, x->upload.length, &pick) < 0)
		return exchange_fail(x, 400, "this is no pick; see docs/distribution.md");
	if (!x->controller->depot)
		return exchange_fail(x, 404, "this controller has no depot");
	slot = stocks_take_slot(x->controller->stocks, x->caller.name);
	if (slot < 0)
		return exchange_fail(x, 503, "all slots are taken; try again");
	x->slot = slot;
	x->finish = give_back_slot;
	s = find_stock(x, db, &pick);
	return s ? answer(x, s, &pick)
		 : exchange_fail(x, 404, "this depot does not have this index");
}

const struct route pick_routes[] = {
	{"POST", "/depot/pick", ROUTE_PLAIN, ROLE_NODE,
		"Gives several chunks of those that are asked for, which the controller chooses: those "
		"that it has given least",
		.upload_max = PICK_REQUEST_MAX, .answer_type = "application/octet-stream",
		.by_certificate = true, .run = run},
	{.method = NULL},
};
