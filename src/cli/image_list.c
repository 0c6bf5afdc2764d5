/* wnodes image list and show: what there is, for people and as JSON. */
#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/image_site.h"
#include "cli/table.h"
#include "image/locate.h"
#include "lib/json.h"
#include "lib/log.h"

struct list_options {
	bool json, quiet, site;
};

static const struct verb_option list_options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct list_options, json), NULL, NULL, NULL,
		"Prints JSON: all that is known of each image"},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct list_options, quiet), NULL, NULL, NULL,
		"Prints NAME:TAG only, a line each"},
	{"site", 's', OPTION_FLAG, offsetof(struct list_options, site), NULL, NULL, NULL,
		"Lists the images of the site's catalogue instead"},
	{.name = NULL},
};

static const struct verb_option show_options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct list_options, json), NULL, NULL, NULL,
		"Prints JSON"},
	{.name = NULL},
};

static const struct table_column list_columns[] = {
	{"name", "NAME", TABLE_TEXT},
	{"tag", "TAG", TABLE_TEXT},
	{"digest", "DIGEST", TABLE_DIGEST},
	{"size", "SIZE", TABLE_SIZE},
	{"created", "CREATED", TABLE_TIME},
	{"os", "OS", TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column show_columns[] = {
	{"reference", "Image", TABLE_TEXT},
	{"digest", "Digest", TABLE_TEXT},
	{"os", "System", TABLE_TEXT},
	{"origin", "Origin", TABLE_TEXT},
	{"created", "Created", TABLE_TIME},
	{"store", "Store", TABLE_TEXT},
	{"size", "Size", TABLE_SIZE},
	{"disk_size", "Disk", TABLE_SIZE},
	{"format", "Disk format", TABLE_TEXT},
	{"architecture", "Architecture", TABLE_TEXT},
	{"boot", "Starts by", TABLE_TEXT},
	{"command_line", "Kernel command line", TABLE_TEXT},
	{"agent", "Agent", TABLE_TEXT},
	{"agent_version", "Agent version", TABLE_TEXT},
	{"gateways", "Mounts shares by", TABLE_TEXT},
	{"min_cpus", "CPUs at least", TABLE_NUMBER},
	{"min_memory", "Memory at least", TABLE_SIZE},
	{.key = NULL},
};

/* The manifest's own JSON is the row; to it come what the store knows. */
static json_t *image_row(const struct image *image, const char *directory)
{
	autofree char *text = image->manifest ? manifest_format(image->manifest) : NULL;
	json_t *row = text ? json_loads(text, 0, NULL) : json_object();
	json_t *more;
	uint64_t size = 0;

	for (size_t i = 0; image->manifest && i < image->manifest->part_count; i++)
		size += image->manifest->parts[i].size;
	more = json_pack("{s:s, s:s, s:o, s:s, s:s}", "name", image->name, "tag", image->tag,
		"reference", json_sprintf("%s:%s", image->name, image->tag), "digest",
		image->digest, "store", directory);
	if (image->manifest) {
		json_object_set_new(more, "size", json_integer((json_int_t)size));
		json_object_set_new(more, "min_memory",
			json_integer((json_int_t)image->manifest->min_memory_mib << 20));
	} else {
		json_object_set_new(more, "os", json_string("(damaged)"));
	}
	if (json_object_update_new(row, more) < 0) {
		json_decref(row);
		return NULL;
	}
	return row;
}

static int list_image(const struct locate_visit *where, const struct image *image, void *userdata)
{
	return table_add(userdata, image_row(image, where->directory));
}

static int print_list(const struct list_options *o, const struct table *table)
{
	if (o->json)
		return table_print_json(table, stdout);
	if (!o->quiet)
		return table_print(table, stdout);
	table_print_member(table, "reference", stdout);
	return 0;
}

static int run_list(const void *options_struct, int arg_count, const char *const *args)
{
	const struct list_options *o = options_struct;
	struct table *table AUTO(table_freep) = table_new(list_columns);
	struct error err = {.text = "out of memory"};

	if (o->site)
		return image_site_list(o->json, o->quiet);
	if (!table || locate_list(list_image, table, &err) < 0 || print_list(o, table) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	return EXIT_SUCCESS;
}

static int show(const struct list_options *o, const char *reference, struct error *err)
{
	struct table *table AUTO(table_freep) = table_new(show_columns);
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	int r = table ? locate_image(reference, &store, &image, err) : -ENOMEM;

	if (r < 0)
		return r;
	r = table_add(table, image_row(image, store_directory(store)));
	if (r < 0)
		return r;
	return o->json ? table_print_json_record(table, stdout) : table_print_record(table, stdout);
}

static int run_show(const void *options_struct, int arg_count, const char *const *args)
{
	struct error err = {.text = "out of memory"};

	if (show(options_struct, args[0], &err) >= 0)
		return EXIT_SUCCESS;
	log_error("%s", err.text);
	return EXIT_WNODES;
}

const struct verb verb_image_list = {
	.name = "image list",
	.synopsis = "[options]",
	.summary = "List the images that VMs can start from",
	.about = "Lists your own images, and those that the machine's administrator provides for "
		 "all. Where both have one of the same name and tag, your own is used.\n"
		 "\n"
		 "With --site: all images that the site knows, with their states and tags.",
	.examples = "wnodes image list\n"
		    "# The names of all images whose system is known\n"
		    "wnodes image list --json | jq -r '.[] | select(.os).name'\n",
	.options = list_options,
	.options_size = sizeof(struct list_options),
	.max_args = 0,
	.run = run_list,
};

const struct verb verb_image_show = {
	.name = "image show",
	.synopsis = "[options] NAME[:TAG]",
	.summary = "Show all that is known of an image",
	.about = "Shows what an image is, where it came from, and how a VM starts from it. Instead "
		 "of a name, the first digits (at least eight) of its digest will do.",
	.examples = "wnodes image show debian\n",
	.options = show_options,
	.options_size = sizeof(struct list_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "image",
	.run = run_show,
};
