/* wnodes image gc and verify: the store's upkeep. */
#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "image/locate.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/strv.h"

struct gc_options {
	bool dry_run;
};

static const struct verb_option gc_options[] = {
	{"dry-run", 'n', OPTION_FLAG, offsetof(struct gc_options, dry_run), NULL, NULL, NULL,
		"Removes nothing, only says what would be"},
	{.name = NULL},
};

static int run_gc(const void *options_struct, int arg_count, const char *const *args)
{
	const struct gc_options *o = options_struct;
	struct store *store AUTO(store_freep) = NULL;
	char size[FORMAT_MAX];
	struct error err = {0};
	uint64_t files, bytes;

	if (locate_own_store(&store, &err) < 0 ||
		store_collect(store, o->dry_run, &files, &bytes, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	printf("%s %llu %s, %s\n", o->dry_run ? "would remove" : "removed",
		(unsigned long long)files, files == 1 ? "file" : "files", format_size(bytes, size));
	return EXIT_SUCCESS;
}

static int verify_one(const char *reference, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	int r = locate_image(reference, &store, &image, err);

	if (r >= 0)
		r = store_verify(store, image, err);
	if (r >= 0)
		printf("%s ok\n", reference);
	else
		log_error("%s: %s", reference, err->text);
	return r;
}

static int add_reference(
	const struct locate_visit *where, const struct image *image, void *userdata)
{
	struct strv *list = userdata;
	autofree char *reference = path_format("%s:%s", image->name, image->tag);

	/* Of two of the same name the first one, the user's own, is what a VM would start from. */
	for (size_t i = 0; reference && i < list->count; i++)
		if (streq(list->items[i], reference))
			return 0;
	if (reference)
		strv_add(list, reference);
	return reference && !list->failed ? 0 : -ENOMEM;
}

static int run_verify(const void *options_struct, int arg_count, const char *const *args)
{
	struct strv all AUTO(strv_done) = {0};
	struct error err = {.text = "out of memory"};
	int status = EXIT_SUCCESS;

	if (arg_count == 0) {
		if (locate_list(add_reference, &all, &err) < 0) {
			log_error("%s", err.text);
			return EXIT_WNODES;
		}
		args = strv_list(&all);
	}
	for (; args && *args; args++)
		if (verify_one(*args, &err) < 0)
			status = EXIT_WNODES;
	return status;
}

const struct verb verb_image_gc = {
	.name = "image gc",
	.synopsis = "[options]",
	.summary = "Give back the room of images without a name",
	.about =
		"Removes from your own store the files that no named image needs, and what builds "
		"and imports that were killed have left. It is safe at any time, also while images "
		"are built and VMs run.",
	.examples = "wnodes image gc --dry-run\n",
	.options = gc_options,
	.options_size = sizeof(struct gc_options),
	.max_args = 0,
	.run = run_gc,
};

const struct verb verb_image_verify = {
	.name = "image verify",
	.synopsis = "[NAME[:TAG]...]",
	.summary = "Check that images are still what they were",
	.about = "Reads all files of the named images, or of all, and compares their SHA-256. A VM "
		 "does not start from an image that is known to be damaged. The exit status is 125 "
		 "if one is.",
	.examples = "wnodes image verify\n",
	.max_args = -1,
	.args_complete = "image",
	.run = run_verify,
};
