/* wnodes depot list, remove and gc: what is published in a directory. */
#include "depot/depot.h"

#include <errno.h>
#include <stdio.h>

#include "cli/depot.h"
#include "cli/table.h"
#include "lib/log.h"
#include "lib/parse.h"

struct list_options {
	bool json, quiet;
};

struct gc_options {
	bool dry_run;
	uint64_t age_us;
	bool age_given;
};

/* Who asks a controller which chunks it lacks sends them within this time. */
#define AGE_DEFAULT_US (UINT64_C(24) * 3600 * 1000000)

static const struct verb_option list_options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct list_options, json),
		.help = "Prints JSON: all that is known of each image"},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct list_options, quiet),
		.help = "Prints the digests only, a line each"},
	{.name = NULL},
};

static const struct verb_option remove_options[] = {
	{.name = NULL},
};

static const struct verb_option gc_options[] = {
	{"dry-run", 'n', OPTION_FLAG, offsetof(struct gc_options, dry_run),
		.help = "Removes nothing, only says what would be"},
	{"older-than", 0, OPTION_DURATION, offsetof(struct gc_options, age_us), "TIME",
		.help = "Removes only what was written that long ago; 24h by default, as somebody "
			"may be about to publish an image of which some chunks are there already",
		.given = offsetof(struct gc_options, age_given)},
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"digest", "DIGEST", TABLE_DIGEST},
	{"size", "SIZE", TABLE_SIZE},
	{"created", "CREATED", TABLE_TIME},
	{"os", "OS", TABLE_TEXT},
	{.key = NULL},
};

struct listing {
	struct depot *depot;
	struct table *table;
	struct error *err;
};

static int add_image(const char *digest, void *userdata)
{
	struct listing *listing = userdata;
	struct manifest *m AUTO(manifest_freep) = NULL;
	autofree char *text = NULL;
	struct error why = {0};
	uint64_t size = 0;
	json_t *row;

	if (depot_get_manifest(listing->depot, digest, &m, &text, &why) < 0) {
		log_warning("%s", why.text);
		return table_add(listing->table,
			json_pack("{s:s, s:s}", "digest", digest, "os", "(damaged)"));
	}
	for (size_t i = 0; i < m->part_count; i++)
		size += m->parts[i].size;
	row = json_loads(text, 0, NULL);
	json_object_set_new(row, "digest", json_string(digest));
	json_object_set_new(row, "size", json_integer((json_int_t)size));
	return table_add(listing->table, row);
}

static int run_list(const void *options_struct, int arg_count, const char *const *args)
{
	const struct list_options *o = options_struct;
	struct table *table AUTO(table_freep) = table_new(columns);
	struct depot *depot AUTO(depot_freep) = NULL;
	struct error err = {.text = "out of memory"};
	struct listing listing = {.table = table, .err = &err};
	int r = table ? depot_open(args[0], false, &depot, &err) : -ENOMEM;

	listing.depot = depot;
	if (r >= 0)
		r = depot_list(depot, add_image, &listing, &err);
	if (r >= 0 && o->quiet)
		table_print_member(table, "digest", stdout);
	else if (r >= 0)
		r = o->json ? table_print_json(table, stdout) : table_print(table, stdout);
	if (r < 0)
		log_error("%s", err.text);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

/* What the beginning of a digest stands for. */
struct search {
	const char *prefix;
	char digest[DIGEST_HEX_SIZE];
	unsigned found;
};

static int match(const char *digest, void *userdata)
{
	struct search *search = userdata;

	if (str_after(digest, search->prefix)) {
		memcpy(search->digest, digest, sizeof(search->digest));
		search->found++;
	}
	return 0;
}

static int remove_image(struct depot *depot, const char *prefix, struct error *err)
{
	struct search search = {.prefix = prefix};
	int r = depot_list(depot, match, &search, err);

	if (r < 0)
		return r;
	if (search.found == 1)
		return depot_remove(depot, search.digest, err);
	return fail(err, -ENOENT,
		"%s images of the depot '%s' have a digest that begins with '%s';"
		" see `wnodes depot list %s`",
		search.found == 0 ? "no" : "several", depot_directory(depot), prefix,
		depot_directory(depot));
}

/* For changes: a directory that is no depot is not made into one. */
static int open_existing(const char *directory, struct depot **ret, struct error *err)
{
	struct depot *reader AUTO(depot_freep) = NULL;
	int r = depot_open(directory, false, &reader, err);

	if (r >= 0)
		r = depot_list(reader, match, &(struct search){.prefix = "none"}, err);
	return r < 0 ? r : depot_open(directory, true, ret, err);
}

static int run_remove(const void *options_struct, int arg_count, const char *const *args)
{
	struct depot *depot AUTO(depot_freep) = NULL;
	struct error err = {0};
	int status = EXIT_SUCCESS;

	if (open_existing(args[0], &depot, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	for (int i = 1; i < arg_count; i++)
		if (remove_image(depot, args[i], &err) < 0) {
			log_error("%s", err.text);
			status = EXIT_WNODES;
		}
	return status;
}

static int run_gc(const void *options_struct, int arg_count, const char *const *args)
{
	const struct gc_options *o = options_struct;
	uint64_t age_us = o->age_given ? o->age_us : AGE_DEFAULT_US;
	struct depot *depot AUTO(depot_freep) = NULL;
	struct depot_garbage garbage = {0};
	struct error err = {0};
	char size[FORMAT_MAX];

	if (open_existing(args[0], &depot, &err) < 0 ||
		depot_collect(depot, o->dry_run, age_us / 1000000, &garbage, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	printf("%s %llu %s, %s\n", o->dry_run ? "would remove" : "removed",
		(unsigned long long)garbage.files, garbage.files == 1 ? "file" : "files",
		format_size(garbage.bytes, size));
	return EXIT_SUCCESS;
}

const struct verb verb_depot_list = {
	.name = "depot list",
	.synopsis = "[options] DIRECTORY",
	.summary = "List the images of a depot",
	.about = "Lists the images that were published into a depot's directory. A depot knows "
		 "images by their digest; names and tags are the catalogue's.",
	.examples = "wnodes depot list /srv/depot\n",
	.options = list_options,
	.options_size = sizeof(struct list_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "dir",
	.run = run_list,
};

const struct verb verb_depot_remove = {
	.name = "depot remove",
	.synopsis = "DIRECTORY DIGEST...",
	.summary = "Take images out of a depot",
	.about = "Removes images, each by its digest or the beginning of it. The room on disk is "
		 "given back by wnodes depot gc, for chunks that no other image needs. Who fetches "
		 "the image just then is not disturbed before that.",
	.examples = "wnodes depot remove /srv/depot 3fc01a\n"
		    "wnodes depot gc /srv/depot\n",
	.options = remove_options,
	.options_size = 1,
	.min_args = 2,
	.max_args = -1,
	.args_complete = "dir",
	.run = run_remove,
};

const struct verb verb_depot_gc = {
	.name = "depot gc",
	.synopsis = "[options] DIRECTORY",
	.summary = "Give back the room of chunks that no image needs",
	.about =
		"Removes from a depot the indexes and chunks that no image leads to, and what "
		"publishers that were killed have left. While somebody publishes it waits, a minute "
		"at most. If an image cannot be read, it is not known what it needs, and nothing is "
		"removed.",
	.examples = "wnodes depot gc --dry-run /srv/depot\n",
	.options = gc_options,
	.options_size = sizeof(struct gc_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "dir",
	.run = run_gc,
};
