/* wnodes image verify: are images what they were, and do they start? */
#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "engine/probe.h"
#include "image/locate.h"
#include "lib/log.h"
#include "lib/path.h"

struct verify_options {
	bool boot;
};

static const struct verb_option verify_options[] = {
	{"boot", 0, OPTION_FLAG, offsetof(struct verify_options, boot), NULL, NULL, NULL,
		"Starts each image once, too"},
	{.name = NULL},
};

/* What goes wrong at the start is printed there. */
static int start(const char *reference, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	struct probe_result result AUTO(probe_done) = {0};
	int r = settings_load(&settings, err);

	if (r >= 0 && probe_image(reference, &settings, &result) < 0)
		r = fail(err, -EIO, "it does not start");
	return r;
}

static int verify_one(const char *reference, bool boot, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	int r = locate_image(reference, &store, &image, err);

	if (r >= 0)
		r = store_verify(store, image, err);
	if (r >= 0 && boot)
		r = start(reference, err);
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
	const struct verify_options *o = options_struct;
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
		if (verify_one(*args, o->boot, &err) < 0)
			status = EXIT_WNODES;
	return status;
}

const struct verb verb_image_verify = {
	.name = "image verify",
	.synopsis = "[options] [NAME[:TAG]...]",
	.summary = "Check that images are still what they were",
	.about = "Reads all files of the named images, or of all, and compares their SHA-256. A VM "
		 "does not start from an image that is known to be damaged. The exit status is 125 "
		 "if one is.",
	.examples = "wnodes image verify\n"
		    "# Does it still start?\n"
		    "wnodes image verify --boot debian\n",
	.options = verify_options,
	.options_size = sizeof(struct verify_options),
	.max_args = -1,
	.args_complete = "image",
	.run = run_verify,
};
