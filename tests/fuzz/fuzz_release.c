/* A release of anybody's: what is accepted has its digests, one disk, and is written as it was
 * read. */
#include <assert.h>

#include "depot/release.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const struct release *release)
{
	struct release *again AUTO(release_freep) = NULL;
	autofree char *first = release_format(release), *second = NULL;

	assert(first && release->part_count > 0 && release->part_count <= MANIFEST_PARTS_MAX);
	assert(digest_is_hex(release->digest) && release_get_part(release, IMAGE_DISK));
	for (size_t i = 0; i < release->part_count; i++) {
		assert(digest_is_hex(release->parts[i].digest));
		assert(digest_is_hex(release->parts[i].index));
		assert(release->parts[i].size <= CAIBX_SIZE_MAX);
	}
	assert(release_parse(first, strlen(first), &again, NULL) == 0);
	second = release_format(again);
	assert(second && strcmp(first, second) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct release *release AUTO(release_freep) = NULL;
	struct error err = {0};

	if (release_parse((const char *)data, size, &release, &err) == 0)
		check_accepted(release);
	else
		assert(!release && err.text[0]);
	return 0;
}
