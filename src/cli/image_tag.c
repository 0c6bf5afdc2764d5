/* wnodes image tag and remove: names for images, and their end. */
#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/image_site.h"
#include "image/locate.h"
#include "lib/log.h"

struct tag_options {
	bool site;
	const char *reason;
};

static const struct verb_option tag_options[] = {
	{"site", 's', OPTION_FLAG, offsetof(struct tag_options, site),
		.help = "At the site: both are names in its catalogue"},
	{"reason", 'r', OPTION_STRING, offsetof(struct tag_options, reason), "TEXT",
		.help = "At the site, why; it is kept for ever"},
	{.name = NULL},
};

/* Only what is in one's own store can get another name there. */
static int add_tag(const char *source, const char *reference, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	autofree char *name = NULL, *tag = NULL;
	int r = store_parse_reference(reference, &name, &tag, err);

	if (r >= 0)
		r = locate_own_store(&store, err);
	if (r >= 0)
		r = store_find(store, source, &image, err);
	if (r < 0)
		return store ? locate_explain_missing(source, r, err) : r;
	return store_tag(store, image->digest, name, tag, err);
}

static int run_tag(const void *options_struct, int arg_count, const char *const *args)
{
	const struct tag_options *o = options_struct;
	struct error err = {0};

	if (o->site)
		return image_site_tag(args[0], args[1], o->reason);
	if (add_tag(args[0], args[1], &err) >= 0)
		return EXIT_SUCCESS;
	log_error("%s", err.text);
	return EXIT_WNODES;
}

static int remove_tag(struct store *store, const char *reference, struct error *err)
{
	autofree char *name = NULL, *tag = NULL;
	int r = store_parse_reference(reference, &name, &tag, err);

	if (r >= 0)
		r = store_untag(store, name, tag, err);
	return r < 0 ? locate_explain_missing(reference, r, err) : r;
}

static int run_remove(const void *options_struct, int arg_count, const char *const *args)
{
	struct store *store AUTO(store_freep) = NULL;
	int status = EXIT_SUCCESS;
	struct error err = {0};

	if (locate_own_store(&store, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	for (int i = 0; i < arg_count; i++)
		if (remove_tag(store, args[i], &err) < 0) {
			log_error("%s", err.text);
			status = EXIT_WNODES;
		}
	return status;
}

const struct verb verb_image_tag = {
	.name = "image tag",
	.synopsis = "[options] SOURCE NAME[:TAG]",
	.summary = "Give an image another name",
	.about =
		"Makes NAME:TAG stand for one of your own images (not of the machine's), in one step: "
		"whoever looks it up finds the old or the new one. SOURCE is a name, or the first "
		"digits of a digest. Without TAG it is latest.\n"
		"\n"
		"With --site it is the site's catalogue: NAME:TAG stands for another image from now on, "
		"which must be approved; the one before stays good until it expires. For "
		"administrators of the site; USER/NAME:TAG is of your own private images.",
	.examples = "# Keep today's image before the next build\n"
		    "wnodes image tag debian debian:2026-11\n"
		    "# Roll back\n"
		    "wnodes image tag --site el9:2026-11 el9:latest --reason 'NFS fails'\n",
	.options = tag_options,
	.options_size = sizeof(struct tag_options),
	.min_args = 2,
	.max_args = 2,
	.args_complete = "image",
	.run = run_tag,
};

const struct verb verb_image_remove = {
	.name = "image remove",
	.synopsis = "NAME[:TAG]...",
	.summary = "Remove names of images",
	.about =
		"Removes names from your own images; those of the machine are root's. VMs that run "
		"are not disturbed. The room on disk is given back by wnodes image gc, for images "
		"that have no name left.",
	.examples = "wnodes image remove debian:2026-10\n"
		    "wnodes image gc\n",
	.min_args = 1,
	.max_args = -1,
	.args_complete = "image",
	.run = run_remove,
};
