/* The known word that someone probably meant who wrote an unknown one. */
#pragma once

#include "lib/base.h"

struct nearest {
	const char *word; /* what was written; set this, then offer the known words */
	const char *best; /* the nearest so far, or NULL */
	size_t distance;
};

/* Offers a known word, which must stay valid. The first of equally near ones wins. */
void nearest_offer(struct nearest *n, const char *candidate);

/* Returns the nearest word if it is near enough for a "did you mean", else NULL. */
const char *nearest_get(const struct nearest *n);
