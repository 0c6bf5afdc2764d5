#include "depot/sample_test.h"

#include <assert.h>
#include <ctype.h>

#include "lib/file.h"

static void fill(uint8_t *data, size_t size, uint64_t state)
{
	for (size_t i = 0; i < size; i++) {
		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		data[i] = (uint8_t)(state >> 56);
	}
}

static size_t size_of(char c)
{
	return isupper((unsigned char)c) ? 1000 + (size_t)c : SAMPLE_CHUNK;
}

void sample_make(struct sample *s, const char *pattern, unsigned int seed)
{
	uint64_t at = 0;

	*s = (struct sample){.index = calloc(1, sizeof(*s->index))};
	assert(s->index);
	s->index->count = strlen(pattern);
	s->index->min = s->index->average = s->index->max = SAMPLE_CHUNK;
	s->index->chunks = calloc(s->index->count + 1, sizeof(*s->index->chunks));
	s->data = calloc(s->index->count + 1, SAMPLE_CHUNK);
	assert(s->index->chunks && s->data);
	for (size_t i = 0; i < s->index->count; i++) {
		struct caibx_chunk *chunk = &s->index->chunks[i];

		chunk->offset = at;
		chunk->size = (uint32_t)size_of(pattern[i]);
		if (pattern[i] != '0')
			fill(s->data + at, chunk->size,
				seed * UINT64_C(1000) + (unsigned char)pattern[i]);
		assert(chunk_id(s->data + at, chunk->size, chunk->id) == 0);
		at += chunk->size;
	}
	s->index->size = at;
	memset(s->digest, (int)seed, sizeof(s->digest));
}

void sample_done(struct sample *s)
{
	caibx_free(s->index);
	free(s->data);
}

const uint8_t *sample_chunk(const struct sample *s, size_t i)
{
	return s->data + s->index->chunks[i].offset;
}

int sample_file(void)
{
	int fd = file_open_temporary("/tmp");

	assert(fd >= 0);
	return fd;
}

int sample_write(const struct sample *s)
{
	int fd = sample_file();

	assert(file_write_all(fd, s->data, s->index->size) == 0);
	return fd;
}
