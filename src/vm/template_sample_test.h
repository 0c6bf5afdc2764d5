/* Templates made up for tests, in the directory "templates" of a working directory of their own.
 * What fails here fails the test. */
#pragma once

#include "vm/template.h"

#define SAMPLE_DIRECTORY "templates"
#define SAMPLE_MIB       4

/* Give each test a directory of its own, as working directory; *state is its path. */
int sample_setup(void **state);
int sample_teardown(void **state);

/* The key that is 64 times this digit. Static storage for each digit. */
const char *sample_key(char digit);

struct template_info sample_info(void);

/* Fills the files of a template: `used_kib` of its memory are not zero. Returns 0 or negative
 * errno.
 */
int sample_fill(struct template_making *m, unsigned used_kib);

/* Makes a template. Returns what template_make_start() or template_make_commit() does. */
int sample_make(const char *key, uint64_t created, unsigned used_kib, struct error *err);

struct template *sample_open(const char *key);

/* Is the content what sample_fill() wrote? */
bool sample_is_whole(const struct template *t);

/* The number of entries in the directory of templates. */
int sample_count_entries(void);
