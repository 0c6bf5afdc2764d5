/* Files with indexes, made for tests: chunks of random bytes, zeros, and chunks that come again. */
#pragma once

#include "depot/caibx.h"

#define SAMPLE_CHUNK 8192

struct sample {
	uint8_t *data; /* index->size bytes */
	struct caibx *index;
	uint8_t digest[DIGEST_SIZE]; /* stands for the index's */
};

/* Makes a file of these chunks, one for each character: 'a' to 'z' random ones, the same for the
 * same letter and seed, '0' zeros; 'A' to 'Z' are odd and short, for the end. */
void sample_make(struct sample *s, const char *pattern, unsigned int seed);
void sample_done(struct sample *s);

const uint8_t *sample_chunk(const struct sample *s, size_t i);

/* An empty file that vanishes. */
int sample_file(void);

/* A file with the sample's content. */
int sample_write(const struct sample *s);
