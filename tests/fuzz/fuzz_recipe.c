/* A recipe as it is kept with an image: what is accepted is kept as it is, and becomes a script and
 * a manifest's text. */
#include <assert.h>
#include <errno.h>

#include "engine/imagecheck.h"
#include "image/recipe_script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct recipe *parse(const char *text, size_t length)
{
	struct recipe *r = NULL;
	struct error err = {0};
	int e = recipe_parse(text, length, "fuzz", NULL, &r, &err);

	assert(e == 0 ? r != NULL : e == -EINVAL && !r && err.text[0]);
	return r;
}

static void check_items(const struct recipe *r)
{
	for (size_t i = 0; i < r->lists[RECIPE_FILES].count; i++) {
		const struct recipe_file *f = r->lists[RECIPE_FILES].items[i].settings;

		assert(r->lists[RECIPE_FILES].items[i].name[0] == '/');
		assert((f->content != NULL) + (f->base64 != NULL) == 1 && !f->source);
	}
	for (size_t i = 0; i < r->lists[RECIPE_CHECKS].count; i++) {
		const struct recipe_check *c = r->lists[RECIPE_CHECKS].items[i].settings;

		assert(c->command && c->status <= 255 && c->timeout > 0);
	}
}

static void check_script(const struct recipe *r, enum recipe_target target)
{
	struct buffer script AUTO(buffer_done) = {0};

	assert(recipe_script(r, target, &script, NULL) == 0 && script.len > 0);
	assert(!memchr(buffer_head(&script), '\0', script.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct recipe *r AUTO(recipe_freep) = parse((const char *)data, size);
	struct recipe *again AUTO(recipe_freep) = NULL;
	autofree char *checks = NULL;

	if (!r)
		return 0;
	check_items(r);
	check_script(r, RECIPE_BUILT);
	check_script(r, RECIPE_FOREIGN);
	assert(strlen(r->text) == r->length && r->length <= RECIPE_BYTES_MAX);
	again = parse(r->text, r->length);
	assert(again && strcmp(again->text, r->text) == 0);
	checks = imagecheck_script(r->text, NULL);
	assert(checks);
	return 0;
}
