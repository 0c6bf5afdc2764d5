/* What a benchmark in a VM prints. */
#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "bench/reading.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct reading *r)
{
	for (int i = 0; i < TRIAL_FIGURES_MAX; i++)
		assert(!r->has[i] || (isfinite(r->values[i]) && r->values[i] >= 0));
	assert(memchr(r->programs, '\0', sizeof(r->programs)));
	assert(memchr(r->size, '\0', sizeof(r->size)));
	assert(memchr(r->missing, '\0', sizeof(r->missing)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reading r = {0};

	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t length = end ? (size_t)(end - data) : size;
		char line[READING_LINE_MAX];
		const char *key = NULL;

		snprintf(line, sizeof(line), "%.*s", (int)MIN_OF(length, sizeof(line) - 1),
			(const char *)data);
		if (reading_take(&r, trial_find("share"), line, &key) != READING_NO_MARK)
			assert(key >= line && key < line + sizeof(line));
		length += end != NULL;
		data += length;
		size -= length;
	}
	check(&r);
	return 0;
}
