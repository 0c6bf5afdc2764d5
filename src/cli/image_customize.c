/* wnodes image customize: a recipe for an image that others made. */
#include "image/customize.h"

#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/image_progress.h"
#include "image/locate.h"
#include "lib/log.h"

struct customize_options {
	const char *recipe, *tag;
	bool verbose;
};

#define OPTION(name, letter, type, member, argument, complete, help)                            \
	{                                                                                       \
		name, letter, type, offsetof(struct customize_options, member), argument, NULL, \
			complete, help                                                          \
	}

static const struct verb_option options[] = {
	OPTION("recipe", 'r', OPTION_STRING, recipe, "FILE", "file",
		"What is to be done, see wnodes.recipe(5)"),
	OPTION("tag", 't', OPTION_STRING, tag, "TAG", NULL,
		"Tag of the changed image; by default that of the image, whose name then stands for "
		"the changed one"),
	OPTION("verbose", 0, OPTION_FLAG, verbose, NULL, NULL, "Says what is done"),
	{.name = NULL},
};

static int customize(const struct customize_options *o, const char *reference, struct image **ret,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct recipe *recipe AUTO(recipe_freep) = NULL;
	struct store *store AUTO(store_freep) = NULL;
	struct customize_request request = {.on_step = image_progress_step};
	int r = o->recipe ? recipe_load(o->recipe, &recipe, err)
			  : fail(err, -EINVAL, "give a recipe, with --recipe FILE");

	if (r >= 0)
		r = locate_own_image(reference, &store, ret, err);
	if (r < 0)
		return recipe ? locate_explain_missing(reference, r, err) : r;
	if (!(*ret)->name)
		return fail(err, -EINVAL, "'%s' is a digest; give NAME[:TAG]", reference);
	request.image = *ret;
	request.recipe = recipe;
	request.tag = o->tag ? o->tag : (*ret)->tag;
	request.cancel = image_progress_catch_signals();
	image_progress_start(o->verbose);
	r = customize_image(store, &request, ret_digest, err);
	image_progress_stop();
	return r == -ECANCELED ? 128 + *request.cancel : r;
}

static int run_customize(const void *options_struct, int arg_count, const char *const *args)
{
	const struct customize_options *o = options_struct;
	struct image *image AUTO(image_freep) = NULL;
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};
	int r = customize(o, args[0], &image, digest, &err);

	if (r != 0) {
		log_error("%s", err.text);
		return r < 0 ? EXIT_WNODES : r;
	}
	if (!o->tag)
		log_notice("%s:%s was the image %.12s until now", image->name, image->tag,
			image->digest);
	printf("%s:%s %.12s\n", image->name, o->tag ? o->tag : image->tag, digest);
	return EXIT_SUCCESS;
}

const struct verb verb_image_customize = {
	.name = "image customize",
	.synopsis = "--recipe FILE [options] NAME[:TAG]",
	.summary = "Change an imported image by a recipe",
	.about =
		"Copies an image that was imported and changes the copy, without starting it: files, "
		"edits, packages, kernel modules, services, syslog and a script, as the recipe says. "
		"Needs virt-customize of libguestfs, and no root. Keys that only building has (suite, "
		"mirror, size, init) are refused. Images that WNoDeS has built are built again.\n"
		"\n"
		"The recipe is kept with the image, so that wnodes image check runs its checks. When "
		"virt-customize fails, its output is kept in the cache directory and named.",
	.examples = "wnodes image customize --recipe worker.recipe --tag worker el9\n",
	.options = options,
	.options_size = sizeof(struct customize_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "image",
	.run = run_customize,
};
