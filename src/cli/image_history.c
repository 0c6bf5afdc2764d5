/* wnodes image history: who has done what to the site's images, when and why. */
#include "cli/image.h"
#include "cli/image_site.h"
#include "cli/site_verb.h"

#define DIGEST 3 /* index of the filter that is no option */

static const struct verb_option rows[] = {
	SITE_FILTER(0, "name", "NAME", "Only images of this name"),
	SITE_FILTER(1, "action", "ACTION",
		"Only this: published, endorsed, approved, limited, expired, revoked, tagged, "
		"untagged"),
	SITE_FILTER(2, "actor", "WHO", "Only what this one has done, as user:alice"),
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct verb_option rows_of_image[] = {
	SITE_FILTER(0, "name", "NAME", ""),
	SITE_FILTER(1, "action", "ACTION", ""),
	SITE_FILTER(2, "actor", "WHO", ""),
	SITE_FILTER(DIGEST, "digest", "DIGEST", ""),
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"time", "WHEN", TABLE_TIME},
	{"action", "WHAT", TABLE_TEXT},
	{"what", "IMAGE", TABLE_TEXT},
	{"digest", "DIGEST", TABLE_DIGEST},
	{"actor", "WHO", TABLE_TEXT},
	{"reason", "WHY", TABLE_TEXT},
	{.key = NULL},
};

static void flatten(json_t *line)
{
	json_t *reference = json_object_get(line, "reference");

	json_object_set(line, "what",
		json_is_string(reference) ? reference : json_object_get(line, "name"));
}

static int run(const void *options, int arg_count, const char *const *args)
{
	static const struct site_list history = {
		"history", rows_of_image, columns, "sequence", flatten};
	struct site_list_options o = *(const struct site_list_options *)options;
	json_t *image = NULL;
	int status = arg_count > 0 ? image_site_get(args[0], &image) : EXIT_SUCCESS;

	if (status)
		return status;
	if (image)
		o.filters[DIGEST] = json_string_value(json_object_get(image, "digest"));
	status = site_verb_list(&history, &o);
	json_decref(image);
	return status;
}

const struct verb verb_image_history = {
	.name = "image history",
	.synopsis = "[options] [IMAGE]",
	.summary = "List what has become of the site's images",
	.about = "Lists each change of an image of the site, or of all, from the first to the "
		 "last: who, when, what and why. Nothing of it is ever forgotten.",
	.examples = "wnodes image history el9\n"
		    "wnodes image history --action revoked --json | jq -r '.[].reason'\n",
	.options = rows,
	.options_size = sizeof(struct site_list_options),
	.max_args = 1,
	.run = run,
};
