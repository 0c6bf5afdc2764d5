#include "depot/caibx.h"

#include <endian.h>
#include <errno.h>

#define INDEX_SIZE    48
#define INDEX_TYPE    UINT64_C(0x96824d9c7b129ff9)
#define TABLE_TYPE    UINT64_C(0xe75b9e112f17417d)
#define TAIL_MARKER   UINT64_C(0x4b4f050e5549ecd1)
#define FLAG_SHA512   UINT64_C(0x2000000000000000) /* ids are SHA-512/256 */
#define HEAD_SIZE     64
#define TABLE_HEADER  16
#define ROW_SIZE      (8 + CHUNK_ID_SIZE)
#define NUMBER(at, i) number_read((at) + 8 * (size_t)(i))

static uint64_t number_read(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

static int number_append(struct buffer *b, uint64_t value)
{
	uint64_t little = htole64(value);

	return buffer_append(b, &little, sizeof(little));
}

static int head_parse(const uint8_t *head, struct caibx *x, struct error *err)
{
	if (NUMBER(head, 0) != INDEX_SIZE || NUMBER(head, 1) != INDEX_TYPE ||
		NUMBER(head, 6) != UINT64_MAX || NUMBER(head, 7) != TABLE_TYPE)
		return fail(err, -EBADMSG, "index: not an index of casync's format");
	if (NUMBER(head, 2) & FLAG_SHA512)
		return fail(err, -EBADMSG,
			"index: its ids are SHA-512/256, not SHA-256; make it with"
			" 'casync make --digest=sha256'");
	x->min = NUMBER(head, 3);
	x->average = NUMBER(head, 4);
	x->max = NUMBER(head, 5);
	if (x->min < CAIBX_CHUNK_MIN || x->min > x->average || x->average > x->max ||
		x->max > CHUNK_SIZE_MAX)
		return fail(err, -EBADMSG,
			"index: chunks of %llu to %llu bytes, on average %llu; from %d to %d are"
			" accepted",
			(unsigned long long)x->min, (unsigned long long)x->max,
			(unsigned long long)x->average, CAIBX_CHUNK_MIN, CHUNK_SIZE_MAX);
	return 0;
}

static int tail_parse(const uint8_t *tail, size_t count, struct error *err)
{
	if (NUMBER(tail, 0) != 0 || NUMBER(tail, 1) != 0 || NUMBER(tail, 2) != INDEX_SIZE ||
		NUMBER(tail, 3) != TABLE_HEADER + (count + 1) * ROW_SIZE ||
		NUMBER(tail, 4) != TAIL_MARKER)
		return fail(err, -EBADMSG, "index: its end is missing or damaged");
	return 0;
}

static int rows_parse(const uint8_t *row, struct caibx *x, struct error *err)
{
	for (size_t i = 0; i < x->count; i++, row += ROW_SIZE) {
		uint64_t end = NUMBER(row, 0);
		bool last = i + 1 == x->count;

		if (end <= x->size || end > CAIBX_SIZE_MAX || end - x->size > x->max ||
			(!last && end - x->size < x->min))
			return fail(err, -EBADMSG,
				"index: chunk %zu is from byte %llu to %llu, which cannot be", i,
				(unsigned long long)x->size, (unsigned long long)end);
		x->chunks[i].offset = x->size;
		x->chunks[i].size = (uint32_t)(end - x->size);
		memcpy(x->chunks[i].id, row + 8, CHUNK_ID_SIZE);
		x->size = end;
	}
	return 0;
}

int caibx_parse(const void *bytes, size_t length, struct caibx **ret, struct error *err)
{
	struct caibx *x AUTO(caibx_freep) = NULL;
	const uint8_t *head = bytes;
	int r;

	if (length < HEAD_SIZE + ROW_SIZE || length > CAIBX_BYTES_MAX ||
		(length - HEAD_SIZE) % ROW_SIZE != 0)
		return fail(err, -EBADMSG, "index: %zu bytes is no length for one", length);
	x = calloc(1, sizeof(*x));
	if (!x)
		return fail(err, -ENOMEM, "out of memory");
	x->count = (length - HEAD_SIZE) / ROW_SIZE - 1;
	r = head_parse(head, x, err);
	if (r >= 0)
		r = tail_parse(head + length - ROW_SIZE, x->count, err);
	if (r < 0)
		return r;
	x->chunks = calloc(MAX_OF(x->count, (size_t)1), sizeof(*x->chunks));
	if (!x->chunks)
		return fail(err, -ENOMEM, "out of memory");
	r = rows_parse(head + HEAD_SIZE, x, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(x);
	return 0;
}

size_t caibx_length(const struct caibx *x)
{
	return HEAD_SIZE + (x->count + 1) * ROW_SIZE;
}

static int numbers_append(struct buffer *b, const uint64_t *values, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = number_append(b, values[i]);
	return r;
}

int caibx_format(const struct caibx *x, struct buffer *ret)
{
	const uint64_t head[] = {
		INDEX_SIZE, INDEX_TYPE, 0, x->min, x->average, x->max, UINT64_MAX, TABLE_TYPE};
	const uint64_t tail[] = {
		0, 0, INDEX_SIZE, TABLE_HEADER + (x->count + 1) * ROW_SIZE, TAIL_MARKER};
	int r = buffer_reserve(ret, caibx_length(x)) ? 0 : -ENOMEM;

	if (r == 0)
		r = numbers_append(ret, head, ARRAY_SIZE(head));
	for (size_t i = 0; i < x->count && r == 0; i++) {
		r = number_append(ret, x->chunks[i].offset + x->chunks[i].size);
		if (r == 0)
			r = buffer_append(ret, x->chunks[i].id, CHUNK_ID_SIZE);
	}
	return r < 0 ? r : numbers_append(ret, tail, ARRAY_SIZE(tail));
}

const struct caibx_chunk *caibx_find(const struct caibx *x, uint64_t offset)
{
	size_t low = 0, high = x->count;

	if (offset >= x->size)
		return NULL;
	/* chunks[low] begins at or before the byte, chunks[high] behind it. */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (x->chunks[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return &x->chunks[low];
}

struct caibx *caibx_free(struct caibx *x)
{
	if (!x)
		return NULL;
	free(x->chunks);
	free(x);
	return NULL;
}
