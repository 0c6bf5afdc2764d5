#include "depot/digest_set.h"

#include <errno.h>

#define ROOM_MIN 1024

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, DIGEST_SIZE);
}

int digest_set_add(struct digest_set *set, const uint8_t digest[DIGEST_SIZE])
{
	if (set->count == set->room) {
		size_t room = MAX_OF(2 * set->room, (size_t)ROOM_MIN);
		void *items = realloc(set->items, room * sizeof(*set->items));

		if (!items)
			return -ENOMEM;
		set->items = items;
		set->room = room;
	}
	memcpy(set->items[set->count++], digest, DIGEST_SIZE);
	return 0;
}

void digest_set_sort(struct digest_set *set)
{
	size_t count = 0;

	if (set->count == 0)
		return;
	qsort(set->items, set->count, sizeof(*set->items), compare);
	for (size_t i = 1; i < set->count; i++)
		if (compare(set->items[count], set->items[i]) != 0)
			memmove(set->items[++count], set->items[i], DIGEST_SIZE);
	set->count = count + 1;
}

bool digest_set_has(const struct digest_set *set, const uint8_t digest[DIGEST_SIZE])
{
	return set->count > 0 &&
	       bsearch(digest, set->items, set->count, sizeof(*set->items), compare);
}

void digest_set_done(struct digest_set *set)
{
	free(set->items);
	*set = (struct digest_set){0};
}
