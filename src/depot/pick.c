#include "depot/pick.h"

#include <errno.h>

#include "lib/wire.h"

#define MAGIC_PICK   "WNP1"
#define MAGIC_ANSWER "WNA1"
#define MAGIC_SIZE   4

static int append_number(struct buffer *b, uint32_t value)
{
	uint8_t bytes[4];

	le32_store(bytes, value);
	return buffer_append(b, bytes, sizeof(bytes));
}

int pick_format(const struct pick *p, struct buffer *ret)
{
	if (buffer_append(ret, MAGIC_PICK, MAGIC_SIZE) < 0 ||
		buffer_append(ret, p->index, CHUNK_ID_SIZE) < 0 ||
		append_number(ret, p->bytes) < 0 || append_number(ret, p->first) < 0 ||
		append_number(ret, p->count) < 0)
		return -ENOMEM;
	return buffer_append(ret, p->wanted, (p->count + 7) / 8);
}

int pick_parse(const void *data, size_t length, struct pick *ret)
{
	const uint8_t *bytes = data;
	struct pick p;

	if (length < PICK_HEAD_SIZE || memcmp(bytes, MAGIC_PICK, MAGIC_SIZE) != 0)
		return -EBADMSG;
	memcpy(p.index, bytes + MAGIC_SIZE, CHUNK_ID_SIZE);
	p.bytes = le32_load(bytes + 36);
	p.first = le32_load(bytes + 40);
	p.count = le32_load(bytes + 44);
	p.wanted = bytes + PICK_HEAD_SIZE;
	if (p.bytes == 0 || p.count == 0 || p.count > PICK_WINDOW ||
		p.first > UINT32_MAX - p.count || length != PICK_HEAD_SIZE + (p.count + 7) / 8)
		return -EBADMSG;
	p.bytes = MIN_OF(p.bytes, PICK_BYTES_MAX);
	*ret = p;
	return 0;
}

bool pick_wants(const struct pick *p, uint32_t chunk)
{
	uint32_t bit = chunk - p->first;

	return chunk >= p->first && bit < p->count && (p->wanted[bit / 8] >> bit % 8 & 1);
}

int pick_format_answer(const struct pick_row *rows, size_t count, struct buffer *ret)
{
	int r = buffer_append(ret, MAGIC_ANSWER, MAGIC_SIZE);

	if (r == 0)
		r = append_number(ret, (uint32_t)count);
	for (size_t i = 0; i < count && r == 0; i++) {
		r = append_number(ret, rows[i].chunk);
		if (r == 0)
			r = append_number(ret, rows[i].length);
	}
	return r;
}

void pick_reader_done(struct pick_reader *r)
{
	buffer_done(&r->bytes);
	*r = (struct pick_reader){0};
}

bool pick_reader_is_whole(const struct pick_reader *r)
{
	return r->has_rows && r->done == r->count;
}

/* Fills the buffer up to `size` bytes. Returns 1 if they are there, 0 if more are needed. */
static int fill(struct pick_reader *r, size_t size, const void *data, size_t length, size_t *used)
{
	size_t n = MIN_OF(size - r->bytes.len, length);

	if (buffer_append(&r->bytes, data, n) < 0)
		return -ENOMEM;
	*used = n;
	return r->bytes.len == size;
}

/* Only what was asked for, each once, and no more than anybody may send. */
static int check_rows(const struct pick_reader *r)
{
	uint64_t total = 0;

	for (size_t i = 0; i < r->count; i++) {
		const struct pick_row *row = &r->rows[i];

		if (!pick_wants(r->pick, row->chunk) || row->length == 0 ||
			row->length > CHUNK_PACKED_MAX)
			return -EBADMSG;
		for (size_t k = 0; k < i; k++)
			if (r->rows[k].chunk == row->chunk)
				return -EBADMSG;
		total += row->length;
	}
	return total > PICK_ANSWER_MAX ? -EBADMSG : 0;
}

static int read_rows(struct pick_reader *r)
{
	const uint8_t *row = buffer_head(&r->bytes) + PICK_ANSWER_HEAD;

	for (size_t i = 0; i < r->count; i++, row += PICK_ANSWER_ROW)
		r->rows[i] = (struct pick_row){le32_load(row), le32_load(row + 4)};
	r->has_rows = true;
	buffer_consume(&r->bytes, r->bytes.len);
	return check_rows(r) < 0 ? -EBADMSG : PICK_ROWS;
}

/* The first bytes tell how many rows there are. */
static int read_head(struct pick_reader *r, const void *data, size_t length, size_t *used)
{
	size_t size = PICK_ANSWER_HEAD + r->count * PICK_ANSWER_ROW;
	int filled = fill(r, size, data, length, used);

	if (filled <= 0)
		return filled;
	if (r->count > 0)
		return read_rows(r);
	r->count = le32_load(buffer_head(&r->bytes) + MAGIC_SIZE);
	if (memcmp(buffer_head(&r->bytes), MAGIC_ANSWER, MAGIC_SIZE) != 0 || r->count == 0 ||
		r->count > PICK_CHUNKS_MAX)
		return -EBADMSG;
	return PICK_MORE;
}

static int read_chunk(struct pick_reader *r, const void *data, size_t length, size_t *used)
{
	int filled = fill(r, r->rows[r->done].length, data, length, used);

	if (filled <= 0)
		return filled;
	r->done++;
	r->given = true;
	return PICK_CHUNK;
}

int pick_read(struct pick_reader *r, const void *data, size_t length, size_t *ret_used)
{
	const uint8_t *bytes = data;
	size_t used = 0;
	int step = PICK_MORE;

	*ret_used = 0;
	if (r->given)
		buffer_consume(&r->bytes, r->bytes.len);
	r->given = false;
	while (length > *ret_used && step == PICK_MORE) {
		if (r->has_rows && r->done == r->count)
			return -EBADMSG;
		step = r->has_rows ? read_chunk(r, bytes + *ret_used, length - *ret_used, &used)
				   : read_head(r, bytes + *ret_used, length - *ret_used, &used);
		*ret_used += used;
	}
	return step;
}
