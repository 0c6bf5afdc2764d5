/* Stores and images made up for tests. What fails here fails the test. */
#pragma once

#include "image/store.h"

/* Give each test a directory of its own, as working directory; *state is its path. */
int sample_setup(void **state);
int sample_teardown(void **state);

/* Opens the store "store" in the working directory. */
struct store *sample_open(void);

/* Adds a blob. Returns what the store returns. */
int sample_put(struct store *s, const void *data, size_t length, struct image_part *ret);

/* Adds an image whose disk is `size` bytes made from `seed`, which is its date, too. Returns what
 * the store returns. */
int sample_add(struct store *s, const char *name, const char *tag, unsigned seed, size_t size,
	char digest[DIGEST_HEX_SIZE], struct error *err);

struct image *sample_find(struct store *s, const char *reference);
void sample_collect(struct store *s, uint64_t *ret_files);
int sample_count_entries(const char *path);
