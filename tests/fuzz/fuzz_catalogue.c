/* The site's catalogue, as the courier brings it: what is taken can be looked up and decided. */
#include <assert.h>
#include <stdio.h>

#include "hypervisor/catalogue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const struct catalogue *c, const struct catalogue_image *image)
{
	const struct catalogue_image *found = NULL;
	struct error err = {0};
	int r;

	assert(catalogue_find(c, image->digest) == image);
	assert(catalogue_resolve(c, image->digest, NULL, &found, &err) == 1 && found == image);
	r = catalogue_decide(image, image->name, image->owner, 1, &err);
	assert(r == 0 || err.text[0]);
	/* Who may start from it is somebody. */
	assert(r < 0 || catalogue_is_startable(image, 1));
	assert(image->part_count <= MANIFEST_PARTS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct catalogue *c = NULL;
	struct error err = {0};

	if (catalogue_parse((const char *)data, size, &c, &err) < 0) {
		assert(!c && err.text[0]);
		return 0;
	}
	for (size_t i = 0; i < c->image_count; i++)
		look_at(c, &c->images[i]);
	for (size_t i = 0; i < c->tag_count; i++) {
		char reference[2 * CATALOGUE_WORD_SIZE + 1];
		const struct catalogue_image *found;

		snprintf(reference, sizeof(reference), "%s:%s", c->tags[i].name, c->tags[i].tag);
		assert(catalogue_resolve(c, reference, NULL, &found, &err) != 0);
	}
	catalogue_free(c);
	return 0;
}
