/* How long requests have taken. */
#pragma once

#include "lib/base.h"

struct load_latency {
	uint32_t *us;
	size_t count, size;
};

void load_latency_add(struct load_latency *l, uint64_t us);

/* Writes {"count":n,"p50_ms":...,"p95_ms":...,"p99_ms":...,"max_ms":...}, without a line's end. */
void load_latency_print(struct load_latency *l);

void load_latency_done(struct load_latency *l);
