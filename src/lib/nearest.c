/* Near is measured in typing errors: a letter missing, added, wrong, or two swapped. */
#include "lib/nearest.h"

/* Longer words are not compared: nobody means a known one by them. */
#define WORD_MAX 63

/* Optimal string alignment distance, by three rows of the usual table. */
static size_t distance_get(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1];
	size_t *older = rows[0], *old = rows[1], *now = rows[2];
	size_t m = strlen(a), n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		old[j] = j;
	for (size_t i = 1; i <= m; i++) {
		size_t *spare = older;

		now[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = old[j - 1] + (a[i - 1] != b[j - 1]);

			best = MIN_OF(best, MIN_OF(old[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN_OF(best, older[j - 2] + 1);
			now[j] = best;
		}
		older = old;
		old = now;
		now = spare;
	}
	return old[n];
}

void nearest_offer(struct nearest *n, const char *candidate)
{
	size_t distance;

	if (strlen(n->word) > WORD_MAX || strlen(candidate) > WORD_MAX)
		return;
	/* The beginning of a word is as good as one error. */
	distance =
		n->word[0] && str_after(candidate, n->word) ? 1 : distance_get(n->word, candidate);
	if (!n->best || distance < n->distance) {
		n->best = candidate;
		n->distance = distance;
	}
}

const char *nearest_get(const struct nearest *n)
{
	if (!n->best)
		return NULL;
	/* One error in three letters; and never a word of which nothing is left. */
	return n->distance <= MAX_OF(strlen(n->word) / 3, (size_t)1) &&
			       n->distance < strlen(n->best)
		       ? n->best
		       : NULL;
}
