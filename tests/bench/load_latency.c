#include "load_latency.h"

#include <stdio.h>

void load_latency_add(struct load_latency *l, uint64_t us)
{
	if (l->count == l->size) {
		l->size = MAX_OF(2 * l->size, (size_t)4096);
		l->us = realloc(l->us, l->size * sizeof(*l->us));
		if (!l->us)
			abort();
	}
	l->us[l->count++] = (uint32_t)MIN_OF(us, (uint64_t)UINT32_MAX);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Of 1,000. */
static double find(const struct load_latency *l, size_t thousandth)
{
	return l->count ? l->us[MIN_OF(l->count * thousandth / 1000, l->count - 1)] / 1e3 : 0;
}

void load_latency_print(struct load_latency *l)
{
	if (l->count > 1)
		qsort(l->us, l->count, sizeof(*l->us), compare);
	printf("{\"count\": %zu, \"p50_ms\": %.2f, \"p95_ms\": %.2f, \"p99_ms\": %.2f, "
	       "\"max_ms\": %.2f}",
		l->count, find(l, 500), find(l, 950), find(l, 990), find(l, 1000));
}

void load_latency_done(struct load_latency *l)
{
	free(l->us);
	*l = (struct load_latency){0};
}
