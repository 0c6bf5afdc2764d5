/* Many digests, to be looked up: 32 bytes for each, of which a GiB in a depot has some ten
 * thousand.
 */
#pragma once

#include "lib/digest.h"

struct digest_set { /* zeroed */
	uint8_t (*items)[DIGEST_SIZE];
	size_t count, room;
};

/* Returns 0 or -ENOMEM. */
int digest_set_add(struct digest_set *set, const uint8_t digest[DIGEST_SIZE]);

/* Before it is looked into: sorts, and drops what is there twice. */
void digest_set_sort(struct digest_set *set);

/* Sorted: is it there? */
bool digest_set_has(const struct digest_set *set, const uint8_t digest[DIGEST_SIZE]);
void digest_set_done(struct digest_set *set);
